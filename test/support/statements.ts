import { createSandbox } from '../../tools/src/sandbox/sandbox.js';
import { control, down, up } from '../../tools/src/servers/index.js';
import { APPS } from './stack.js';
import { until } from './until.js';
import { type AppName, servers, sql, type World } from './world.js';

/** What makes a server write its log to disk, since it was made to write down what it is told. */
export interface DurableWrites {
  prepares: number;
  branchCommits: number;
  /** Transactions that have changed something, and statements that have without one. */
  localCommits: number;
}

/**
 * A world on database servers of its own that write down every statement: what they were told is then only ours. The
 * broker counts nothing and may be shared. InnoDB's own counters would also count what a server does for itself.
 */
export async function recordedWorld(set: string): Promise<World> {
  const { databases } = await up(set, { say: () => {}, only: ['databases'] });
  const world = await createSandbox({ ...servers(), databases }, set);
  for (const app of APPS) await sql(world, app, `SET GLOBAL log_output = 'TABLE', GLOBAL general_log = ON`);
  return world;
}

export const endRecording = (set: string): Promise<unknown> => down(set, { say: () => {}, wipe: true });

/** False for servers that were given: others use them, too. */
export const isRecordable = (set: string): boolean => control(set).payment.supported;

export async function durableWrites(world: World, app: AppName): Promise<DurableWrites> {
  const open = new Map<number, boolean>();
  const found: DurableWrites = { prepares: 0, branchCommits: 0, localCommits: 0 };
  for (const { thread, statement } of await statements(world, app)) {
    if (/^(START TRANSACTION|BEGIN|XA START)/i.test(statement)) open.set(thread, false);
    if (/^(INSERT|UPDATE|DELETE|REPLACE)/i.test(statement)) {
      if (open.has(thread)) open.set(thread, true);
      else found.localCommits++;
    }
    if (/^XA PREPARE/i.test(statement)) found.prepares++;
    if (/^XA COMMIT/i.test(statement)) found.branchCommits++;
    if (/^COMMIT/i.test(statement) && open.get(thread)) found.localCommits++;
    if (/^(COMMIT|ROLLBACK|XA COMMIT|XA ROLLBACK)/i.test(statement)) open.delete(thread);
  }
  return found;
}

/** Statements that were sent together are one line; no literal here has a semicolon. */
async function statements(world: World, app: AppName): Promise<Array<{ thread: number; statement: string }>> {
  const query = `SELECT thread_id AS thread, CONVERT(argument USING utf8mb4) AS statement FROM mysql.general_log
    WHERE command_type = 'Query'`;
  const lines = await sql<{ thread: number; statement: string }>(world, app, query);
  return lines.flatMap(({ thread, statement }) => statement.split(/;\s*/).map((one) => ({ thread, statement: one })));
}

/** Resolves with a count that is the same at two looks: what the preparation has set in motion is over. */
export function untilStill<Count>(count: () => Promise<Count>): Promise<Count> {
  let last = '';
  return until(
    'nothing is written any more',
    async () => {
      const now = await count();
      const isStill = last === JSON.stringify(now);
      last = JSON.stringify(now);
      return isStill && now;
    },
    { everyMs: 500 },
  );
}
