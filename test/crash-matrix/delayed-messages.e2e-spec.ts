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

/** The failpoints of a delayed message and of its cancel. The handler and the cancel compete for one effect. */
let sandbox: Sandbox;
const SCRIPT = join(ROOT, 'test', 'crash-matrix', 'delayed-message-app.mjs');
const hits = mkdtempSync(join(tmpdir(), 'delayed-messages-'));
const hitsOf = (gid: string) => join(hits, gid);
const sentences = new Map(allFailpoints().map(({ name, disk }) => [name, disk]));

beforeAll(async () => {
  sandbox = await freshSandbox('crash_delayed_messages', { audited: false });
  await sql(
    sandbox,
    'order',
    'CREATE TABLE effect (id INT AUTO_INCREMENT PRIMARY KEY, gid VARCHAR(64), what VARCHAR(100))',
  );
});

afterAll(() => rmSync(hits, { recursive: true }));

type Task = 'append' | 'cancel' | 'late' | 'recover';

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
  const [row] = await sql<{ state: string }>(sandbox, 'order', 'SELECT state FROM dtx_outbox WHERE gid = ?', [gid]);
  const inbox = await sql(sandbox, 'order', 'SELECT id FROM dtx_inbox WHERE gid = ?', [gid]);
  const effects = await sql(sandbox, 'order', 'SELECT what FROM effect WHERE gid = ?', [gid]);
  return { state: row?.state, inbox: inbox.length, effects: effects.length };
}

const POINTS = [
  { point: 'local-message.due', task: 'append', disk: { state: 'PENDING', inbox: 0, effects: 0 } },
  { point: 'local-message.cancelled', task: 'cancel', disk: { state: 'SCHEDULED', inbox: 0, effects: 0 } },
  { point: 'local-message.cancel-inboxed', task: 'late', disk: { state: 'SENT', inbox: 0, effects: 0 } },
] as const;

type Point = (typeof POINTS)[number];

/** The message is handled once, or withdrawn, and its row is over. */
async function isOverOnce(gid: string): Promise<void> {
  const { state, ...rest } = await onDisk(gid);
  expect(['DONE', 'CANCELLED']).toContain(state);
  expect(rest.effects).toBe(1);
}

/** What happens to the process that reaches the failpoint. */
const PLAYS: Partial<Record<Mode, (point: Point) => Promise<void>>> = {
  crash: async ({ point, task, disk }) => {
    const gid = `${point}-crash`;
    expect(await ended(start(gid, task, `${point}=1*crash`))).toBe('SIGKILL');
    expect(await onDisk(gid)).toEqual(disk);
    expect(await ended(start(gid, 'recover'))).toBe(0);
    await isOverOnce(gid);
  },
  'pause, recover, kill': async ({ point, task, disk }) => {
    const gid = `${point}-kill`;
    const victim = start(gid, task, `${point}=1*pause`);
    await until(`the app is at ${point}`, () => existsSync(hitsOf(gid)), { withinMs: 60_000 });
    expect(await onDisk(gid)).toEqual(disk);
    // A paused cancel keeps its locks until its process dies.
    const recovery = start(gid, 'recover');
    if (task === 'append') expect(await ended(recovery)).toBe(0);
    victim.kill('SIGKILL');
    expect(await ended(recovery)).toBe(0);
    await isOverOnce(gid);
  },
  'pause, recover, continue': async ({ point, task, disk }) => {
    const gid = `${point}-pause`;
    const victim = start(gid, task, `${point}=1*pause`);
    try {
      await until(`the app is at ${point}`, () => existsSync(hitsOf(gid)), { withinMs: 60_000 });
      expect(await onDisk(gid)).toEqual(disk);
      const recovery = start(gid, 'recover');
      if (task === 'append') expect(await ended(recovery)).toBe(0);
      victim.kill('SIGCONT');
      expect([await ended(recovery), await ended(victim)]).toEqual([0, 0]);
    } finally {
      victim.kill('SIGKILL');
    }
    await isOverOnce(gid);
  },
  error: async ({ point, task }) => {
    const gid = `${point}-error`;
    expect(await ended(start(gid, task, `${point}=1*error`))).toBe(0);
    expect(existsSync(hitsOf(gid))).toBe(true);
    await until('it is over', () => isOverOnce(gid).then(() => true));
  },
};

describe.each(POINTS)('$point', (point) => {
  for (const mode of few('crash')) {
    const play = PLAYS[mode];
    const options = { ...inMatrix(point.point, 'a service', mode), timeout: 120_000 };
    if (play) test(`${sentences.get(point.point)} There is one effect after: ${mode}.`, options, () => play(point));
  }
});
