import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { LittleApp, libraryOf, participantOf } from './little-app.js';

/** The participant is in another app than its initiator, so a call without an answer costs the whole time limit. */
const library = libraryOf();
const contract = library.decorators.defineParticipant({ name: 'inventory.thrower', version: 1, args: z.object({}) });
const BACKOFF = { firstMs: 50, factor: 1, capMs: 50 };
const THROWN: Array<[name: string, thrown: unknown, text: string]> = [
  ['a text', 'no way', 'no way'],
  ['an object', { code: 'E_NO_WAY' }, 'E_NO_WAY'],
  ['undefined', undefined, 'undefined'],
  ['an Error whose message is an object', Object.assign(new Error(), { message: { code: 1 } }), 'Error'],
  ['an object that cannot be printed', { [inspect.custom]: () => fail() }, 'cannot be read'],
];
const fail = (): never => {
  throw new Error('not to be looked at');
};
let sandbox: Sandbox;
let initiator: LittleApp;
let participant: LittleApp;
let runs: string[] = [];
let failing: { phase: string; thrown: unknown } = { phase: '', thrown: undefined };

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_thrown', { audited: false });
  const method = (phase: string) => () => {
    runs.push(phase);
    if (failing.phase === phase) throw failing.thrown;
  };
  const provider = participantOf(library, contract, {
    try: method('try'),
    confirm: method('confirm'),
    cancel: method('cancel'),
  });
  participant = await LittleApp.start({ sandbox, library, app: 'inventory', providers: [provider] });
  const participates = { timeoutMs: 20_000, callTimeoutMs: 20_000, attemptsMax: 2, backoff: BACKOFF };
  initiator = await LittleApp.start({ sandbox, library, participates });
});

afterAll(() => Promise.all([initiator?.close(), participant?.close()]));

beforeEach(() => {
  runs = [];
});

const run = (gid: string) => initiator.tcc.run({ gid }, (t) => t.call(contract, {}));
const parked = (gid: string) =>
  until(`${gid} is parked`, async () => {
    const query = `SELECT last_error FROM dtx_tcc WHERE id = ? AND state = 'PARKED'`;
    return (await sql<{ last_error: string }>(sandbox, 'payment', query, [gid]))[0];
  });

describe.each(THROWN)('a participant that throws %s', (name, thrown, text) => {
  test('in its Try runs once, and the transaction is cancelled at once', async () => {
    failing = { phase: 'try', thrown };
    const outcome = await run(`try ${name}`.replaceAll(' ', '-'));
    expect(outcome).toMatchObject({ status: 'CANCELLED', reason: 'TIMEOUT', waitingFor: [] });
    expect(runs.filter((phase) => phase === 'try')).toHaveLength(1);
  });

  test('in its Confirm is called once per attempt, and the parked transaction has its text', async () => {
    failing = { phase: 'confirm', thrown };
    const gid = `confirm ${name}`.replaceAll(' ', '-');
    expect(await run(gid)).toMatchObject({ status: 'CONFIRMED', waitingFor: ['inventory.thrower'] });
    expect((await parked(gid)).last_error).toContain(text);
    expect(runs).toEqual(['try', 'confirm', 'confirm']);
  });
});

test('a refusal whose reason is too long for an answer is still a refusal', async () => {
  failing = { phase: 'try', thrown: new library.Rejected('R'.repeat(1_500)) };
  expect(await run('long-reason')).toMatchObject({ status: 'CANCELLED', reason: 'R'.repeat(64) });
  expect(runs.filter((phase) => phase === 'try')).toHaveLength(1);
});
