import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { allFailpoints } from '../../libs/dtx/src/index.js';
import { ROOT } from '../fixtures/app-process.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';

/** The failpoints of a saga that waits, which no saga of the demo does. The app of the test has one. */
let sandbox: Sandbox;
const SCRIPT = join(ROOT, 'test', 'crash-matrix', 'saga-signal-app.mjs');
const sentences = new Map(allFailpoints().map(({ name, disk }) => [name, disk]));

beforeAll(async () => {
  sandbox = await freshSandbox('crash_saga_signals', { audited: false });
  await sql(
    sandbox,
    'order',
    'CREATE TABLE effect (id INT AUTO_INCREMENT PRIMARY KEY, gid VARCHAR(64), what VARCHAR(100))',
  );
});

/** Runs the app until it ends. Resolves to the signal that has killed it, or its exit code. */
async function run(gid: string, task: 'begin' | 'recover', failpoints = ''): Promise<string | number> {
  const env = { ...process.env, DTX_FAILPOINTS: failpoints };
  const args = [SCRIPT, ROOT, sandbox.databases.order, sandbox.rabbitmq, gid, task];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'inherit', 'inherit'] });
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  return signal ?? code!;
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
  ['saga.signal-taken', { state: 'RUNNING', step: 2, waits: 0, taken: 1, effects: ['order.request'] }],
] as const;

describe.each(POINTS)('%s', (point, disk) => {
  test(`${sentences.get(point)} The saga ends once after a crash.`, async () => {
    expect(await run(point, 'begin', `${point}=1*crash`)).toBe('SIGKILL');
    expect(await onDisk(point)).toEqual(disk);
    expect(await run(point, 'recover')).toBe(0);
    expect(await onDisk(point)).toMatchObject({ state: 'COMPLETED', effects: ['order.request', 'order.ship'] });
  });
});
