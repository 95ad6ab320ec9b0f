import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import type { TccBranch } from '../../libs/dtx/src/index.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { LittleApp, libraryOf } from './little-app.js';

/** Participants with a schema of their result, whose methods the class decorator names. */
const library = libraryOf();
const { defineParticipant, TccParticipant } = library.decorators;
const args = z.object({ reply: z.string() });
const held = defineParticipant({
  name: 'payment.held',
  version: 1,
  args,
  result: z.object({ hold: z.string(), until: z.coerce.date() }),
});
/** The sender's rule applies a schema twice, to the value and to its JSON. The third time, at Confirm, it is another one. */
let applied = 0;
const changing = defineParticipant({
  name: 'payment.changing',
  version: 1,
  args,
  result: z.object({ hold: z.string() }).refine(() => ++applied <= 2, 'the schema has changed'),
});

interface Held {
  hold: string;
  until: Date;
}
const UNTIL = new Date('2030-01-02T03:04:05.000Z');
let seen: Array<[phase: string, data: unknown]> = [];

@TccParticipant(held, { try: 'hold', confirm: 'take', cancel: 'free', confirmed: 'tell', cancelWithoutTry: true })
class Hold {
  async hold(_tx: EntityManager, { reply }: { reply: string }): Promise<Held> {
    return { hold: reply === 'wrong' ? (7 as never) : reply, until: UNTIL };
  }
  take(_tx: EntityManager, _args: unknown, { data }: TccBranch<Held>): void {
    seen.push(['take', data]);
  }
  free(_tx: EntityManager, _args: unknown, { data }: TccBranch<Held>): void {
    seen.push(['free', data]);
  }
  tell({ reply }: { reply: string }): void {
    seen.push(['tell', reply]);
  }
}

@TccParticipant(changing, { try: 'hold', confirm: 'take', cancel: 'take' })
class Changing {
  hold(): { hold: string } {
    return { hold: 'a' };
  }
  take(): void {
    seen.push(['take', undefined]);
  }
}

let sandbox: Sandbox;
let app: LittleApp;

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_results', { audited: false });
  const participates = { attemptsMax: 2, backoff: { firstMs: 50, factor: 1, capMs: 50 } };
  app = await LittleApp.start({ sandbox, library, providers: [Hold, Changing], participates });
});

afterAll(() => app?.close());

beforeEach(() => {
  seen = [];
});

test('Confirm gets the result of Try as its schema returns it, and the method after Confirm runs', async () => {
  const outcome = await app.tcc.run({ gid: 'held' }, (t) => t.call(held, { reply: 'h1' }));
  expect(outcome).toMatchObject({ status: 'CONFIRMED', waitingFor: [] });
  expect(seen).toEqual([
    ['take', { hold: 'h1', until: UNTIL }],
    ['tell', 'h1'],
  ]);
});

test('a result that does not fit its schema undoes the Try, and Cancel runs without it', async () => {
  const outcome = await app.tcc.run({ gid: 'wrong' }, (t) => t.call(held, { reply: 'wrong' }));
  expect(outcome).toMatchObject({ status: 'CANCELLED' });
  await until('it is cancelled here', () => seen.length > 0);
  expect(seen).toEqual([['free', undefined]]);
});

test('a stored result that no longer fits its schema parks the transaction', async () => {
  const parked = () =>
    sql<{ last_error: string }>(
      sandbox,
      'payment',
      `SELECT last_error FROM dtx_tcc WHERE id = 'changed' AND state = 'PARKED'`,
    );
  const outcome = app.tcc.run({ gid: 'changed', timeoutMs: 2_000 }, (t) => t.call(changing, { reply: 'a' }));
  await outcome.catch(() => {});
  const [row] = await until('it is parked', async () => ((await parked()).length > 0 ? parked() : false));
  expect(row!.last_error).toMatch(/stored result of Try does not fit payment\.changing: .*the schema has changed/);
  expect(seen).toEqual([]);
});
