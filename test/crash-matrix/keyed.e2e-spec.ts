import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allFailpoints } from '../../libs/dtx/src/index.js';
import { endOf, type OrderedTask, orderedApp, orderedTables } from '../fixtures/ordered-app.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { few, inMatrix, type Mode } from './matrix-types.js';

/** The failpoints of messages with a key, which the demo does not send. The app of the test sends three of one key. */
let sandbox: Sandbox;
const hits = mkdtempSync(join(tmpdir(), 'keyed-'));
const sentences = new Map(allFailpoints().map(({ name, disk }) => [name, disk]));

beforeAll(async () => {
  sandbox = await freshSandbox('crash_keyed', { audited: false });
  await orderedTables(sandbox, []);
});

afterAll(() => rmSync(hits, { recursive: true }));

interface Point {
  /** The states of the messages while the process is down. One of several, separated by a bar. */
  readonly states: readonly string[];
  readonly effects: readonly string[];
  readonly begin?: Partial<OrderedTask>;
  /** How the messages end. */
  readonly end?: Partial<OrderedTask>;
  /** All by default. */
  readonly modes?: readonly Mode[];
}

const POINTS: ReadonlyArray<readonly [string, Point]> = [
  // A caller that is not told of a commit calls again. While its process is stopped, its transaction holds the key.
  ['local-message.keyed', { states: [], effects: [], end: { task: 'begin' }, modes: ['crash'] }],
  [
    'local-message.not-head',
    { states: ['PENDING|SENT', 'WAITING', 'PENDING|WAITING'], effects: [], begin: { failing: ['1'] } },
  ],
  // A claim skips a row that a late look at the head has locked. That look claims it then.
  ['local-message.released', { states: ['DONE', 'PENDING|WAITING', 'WAITING'], effects: ['1'], begin: { slow: true } }],
  [
    'local-message.parked-there',
    {
      states: ['DONE', 'HELD', 'WAITING'],
      effects: ['1'],
      begin: { failing: ['2'], inbox: { attemptsMax: 1 } },
      end: { retries: true },
    },
  ],
];

const OVER = { states: ['DONE', 'DONE', 'DONE'], effects: ['1', '2', '3'] };

async function onDisk(key: string) {
  const rows = await sql<{ state: string }>(
    sandbox,
    'order',
    'SELECT state FROM dtx_keyed WHERE gid = ? ORDER BY seq',
    [key],
  );
  const effects = await sql<{ id: string }>(sandbox, 'order', 'SELECT id FROM effect WHERE k = ? ORDER BY at', [key]);
  return { states: rows.map(({ state }) => state), effects: effects.map(({ id }) => id) };
}

async function expectDisk(key: string, { states, effects }: Point): Promise<void> {
  const disk = await onDisk(key);
  expect(disk.effects).toEqual(effects);
  expect(disk.states).toHaveLength(states.length);
  for (const [index, state] of disk.states.entries()) expect(states[index]!.split('|')).toContain(state);
}

function start(key: string, given: Partial<OrderedTask>, failpoints = '') {
  const env = { DTX_FAILPOINTS: failpoints, DTX_FAILPOINT_LOG: join(hits, key) };
  return orderedApp(sandbox, { task: 'begin', key, ...given }, env);
}
const recover = (key: string, { end }: Point) => endOf(start(key, { task: 'recover', ...end }));

/** The process stops at the failpoint. Another one recovers, and then `fate` decides. */
async function paused(key: string, name: string, point: Point, fate: 'SIGKILL' | 'SIGCONT'): Promise<void> {
  const victim = start(key, point.begin ?? {}, `${name}=1*pause`);
  try {
    await until(`the app is at ${name}`, () => existsSync(join(hits, key)), { withinMs: 60_000 });
    await expectDisk(key, point);
    expect(await recover(key, point)).toBe(0);
    victim.kill(fate);
    expect(await endOf(victim)).toBe(fate === 'SIGKILL' ? 'SIGKILL' : 0);
  } finally {
    victim.kill('SIGKILL');
  }
  expect(await onDisk(key)).toEqual(OVER);
}

/** What happens to the process that reaches the failpoint. */
const PLAYS: Record<Mode, (key: string, name: string, point: Point) => Promise<void>> = {
  crash: async (key, name, point) => {
    expect(await endOf(start(key, point.begin ?? {}, `${name}=1*crash`))).toBe('SIGKILL');
    await expectDisk(key, point);
    expect(await recover(key, point)).toBe(0);
    expect(await onDisk(key)).toEqual(OVER);
  },
  'pause, recover, kill': (key, name, point) => paused(key, name, point, 'SIGKILL'),
  'pause, recover, continue': (key, name, point) => paused(key, name, point, 'SIGCONT'),
  error: (key, name, point) => failing(key, name, point, 'error'),
  lost: (key, name, point) => failing(key, name, point, 'lost'),
};

/** The step fails, or is reported as failed. Another process ends the messages beside this one. */
async function failing(key: string, name: string, point: Point, action: 'error' | 'lost'): Promise<void> {
  const victim = start(key, point.begin ?? {}, `${name}=1*${action}`);
  try {
    await until(`the app is at ${name}`, () => existsSync(join(hits, key)), { withinMs: 60_000 });
    expect(await recover(key, point)).toBe(0);
    expect(await endOf(victim)).toBe(0);
  } finally {
    victim.kill('SIGKILL');
  }
  expect(await onDisk(key)).toEqual(OVER);
}

describe.each(POINTS)('%s', (name, point) => {
  const modes = few('crash');
  for (const mode of modes.filter((one) => point.modes?.includes(one) ?? true)) {
    const key = `${name}-${mode.replaceAll(/\W+/g, '-')}`;
    test(
      `${sentences.get(name)} The messages are handled in their order after: ${mode}.`,
      inMatrix(name, 'a service', mode),
      () => PLAYS[mode](key, name, point),
    );
  }
});
