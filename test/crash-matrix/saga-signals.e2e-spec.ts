import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allFailpoints } from '../../libs/dtx/src/index.js';
import { ROOT } from '../fixtures/app-process.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { spawnForFile } from '../fixtures/spawned-processes.js';
import { until } from '../fixtures/until.js';
import { few, inMatrix, type Mode } from './matrix-types.js';

/** The failpoints of a saga that waits, which no saga of the demo does. The app of the test has one. */
let sandbox: Sandbox;
const SCRIPT = join(ROOT, 'test', 'crash-matrix', 'saga-signal-app.mjs');
const hits = mkdtempSync(join(tmpdir(), 'saga-signals-'));
const hitsOf = (gid: string) => join(hits, gid);
const sentences = new Map(allFailpoints().map(({ name, disk }) => [name, disk]));

beforeAll(async () => {
  sandbox = await freshSandbox('crash_saga_signals', { audited: false });
  await sql(
    sandbox,
    'order',
    'CREATE TABLE effect (id INT AUTO_INCREMENT PRIMARY KEY, gid VARCHAR(64), what VARCHAR(100))',
  );
});

afterAll(() => rmSync(hits, { recursive: true }));

type Task = 'approve' | 'refuse' | 'recover';

function start(gid: string, task: Task, failpoints = ''): ChildProcess {
  const env = { ...process.env, DTX_FAILPOINTS: failpoints, DTX_FAILPOINT_LOG: hitsOf(gid) };
  const args = [SCRIPT, ROOT, sandbox.databases.order, sandbox.rabbitmq, gid, task];
  return spawnForFile(process.execPath, args, { env, stdio: ['ignore', 'inherit', 'inherit'] });
}

/** Resolves to the signal that has killed the app, or its exit code. */
async function ended(child: ChildProcess): Promise<string | number> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.signalCode ?? child.exitCode!;
}

async function onDisk(gid: string) {
  const [saga] = await sql(
    sandbox,
    'order',
    'SELECT state, step, waiting_since IS NOT NULL AS waits FROM dtx_saga WHERE id = ?',
    [gid],
  );
  const [signal] = await sql(
    sandbox,
    'order',
    'SELECT taken_at IS NOT NULL AS taken FROM dtx_saga_signal WHERE gid = ?',
    [gid],
  );
  const effects = await sql<{ what: string }>(sandbox, 'order', 'SELECT what FROM effect WHERE gid = ? ORDER BY id', [
    gid,
  ]);
  return { ...saga, ...signal, effects: effects.map(({ what }) => what) };
}

const POINTS = [
  ['saga.signalled', { state: 'RUNNING', step: 1, waits: 1, taken: 0, effects: ['order.request'] }],
  ['saga.signal-taken', { state: 'RUNNING', step: 1, waits: 0, taken: 1, effects: ['order.request'] }],
] as const;

/** What the sender of the signal wants, and how the saga ends then. */
const ENDS = {
  approve: { state: 'COMPLETED', taken: 1, effects: ['order.request', 'order.ship'] },
  refuse: { state: 'COMPENSATED', taken: 1, effects: ['order.request'] },
} as const;
type Wish = keyof typeof ENDS;
type Disk = (typeof POINTS)[number][1];

/** What happens to the process that reaches the failpoint. */
const MODES: Partial<Record<Mode, (point: string, disk: Disk, wish: Wish) => Promise<void>>> = {
  crash: async (point, disk, wish) => {
    const gid = `${point}-${wish}-crash`;
    expect(await ended(start(gid, wish, `${point}=1*crash`))).toBe('SIGKILL');
    expect(await onDisk(gid)).toEqual(disk);
    expect(await ended(start(gid, 'recover'))).toBe(0);
    expect(await onDisk(gid)).toMatchObject(ENDS[wish]);
  },
  'pause, recover, continue': async (point, disk, wish) => {
    const gid = `${point}-${wish}-pause`;
    const victim = start(gid, wish, `${point}=1*pause`);
    try {
      await until(`the app is at ${point}`, () => existsSync(hitsOf(gid)), { withinMs: 60_000 });
      expect(await onDisk(gid)).toEqual(disk);
      expect(await ended(start(gid, 'recover'))).toBe(0);
      victim.kill('SIGCONT');
      expect(await ended(victim)).toBe(0);
    } finally {
      victim.kill('SIGKILL');
    }
    expect(await onDisk(gid)).toMatchObject(ENDS[wish]);
  },
  error: async (point, _disk, wish) => {
    const gid = `${point}-${wish}-error`;
    expect(await ended(start(gid, wish, `${point}=1*error`))).toBe(0);
    expect(existsSync(hitsOf(gid))).toBe(true);
    expect(await onDisk(gid)).toMatchObject(ENDS[wish]);
  },
};

describe.each(POINTS)('%s', (point, disk) => {
  for (const mode of few('crash')) {
    const play = MODES[mode];
    if (play)
      test(`${sentences.get(point)} The saga ends once after: ${mode}.`, inMatrix(point, 'a service', mode), () =>
        play(point, disk, 'approve'),
      );
  }
});

test.each(few('crash').filter((mode) => MODES[mode]))(
  'a refusal that was taken and not yet judged turns the saga back after: %s',
  (mode) => MODES[mode]!(...POINTS[1], 'refuse'),
);
