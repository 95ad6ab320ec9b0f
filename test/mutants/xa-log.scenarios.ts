import { expect } from 'vitest';
import { until } from '../fixtures/until.js';
import { sql, type World } from '../fixtures/world.js';
import { copyOf } from '../xa/copies.js';
import { LittleXa, libraryOf, prepareTables } from '../xa/little-xa.js';
import { begin, decideToCommit, endAll, FORMAT_ID, finish, orphan, prepare, preparedOf, recover } from '../xa/shop.js';
import type { Claim, Scenario, Stage } from './stage.js';
import { evidenceOff, PREPARED, sentinelOff, traceOff } from './xa-log.mutants.js';

/** A world with a log, and how to start an app of it. */
async function openedWorld({ world, root, keep }: Stage): Promise<(of?: World) => Promise<LittleXa>> {
  const library = libraryOf(root);
  await prepareTables(world, library);
  const start = async (of = world) => keep(await LittleXa.start({ world: of, library, xa: { timeoutMs: 10_000 } }));
  await (await LittleXa.start({ world, library })).close();
  keep({ close: () => endAll(world) });
  return start;
}

/** A transaction that was prepared in both databases a minute ago, and whose process is dead. */
async function inBoth(world: World): Promise<{ id: string; gtrid: string }> {
  const begun = await begin(world);
  for (const app of ['payment', 'inventory'] as const)
    await prepare(world, app, { gtrid: begun.gtrid, formatId: FORMAT_ID });
  return begun;
}

/** Waits until scans have run: an orphan that began after the fault of the log was found is ended. */
async function looksAreTaken(world: World): Promise<void> {
  const tries: string[] = [];
  const isOneEnded = async () => {
    const left = new Set((await recover(world, 'payment')).map(({ gtrid }) => gtrid));
    const isEnded = tries.some((gtrid) => !left.has(gtrid));
    if (!isEnded) tries.push((await orphan(world, { ageMs: 0 })).gtrid);
    return isEnded;
  };
  await until('an orphan that may be ended is ended', isOneEnded, { everyMs: 500 });
}

const claimPrepared = async (world: World, gtrid: string, at: readonly string[]) => {
  const left = (await preparedOf(world)).filter((one) => one.gtrid === gtrid);
  expect(
    left.map(({ app }) => app),
    PREPARED,
  ).toEqual(at);
};

async function emptiedLog(stage: Stage): Promise<Claim> {
  const { world } = stage;
  const start = await openedWorld(stage);
  const decided = await inBoth(world);
  await decideToCommit(world, { ...decided, isDue: false });
  await sql(world, 'order', 'TRUNCATE dtx_xa');
  await start();
  await looksAreTaken(world);
  return () => claimPrepared(world, decided.gtrid, ['payment', 'inventory']);
}

async function shortenedLog(stage: Stage): Promise<Claim> {
  const { world } = stage;
  const start = await openedWorld(stage);
  const { gtrid } = await inBoth(world);
  await finish(world, 'payment', { gtrid, formatId: FORMAT_ID, how: 'COMMIT' });
  await start();
  await looksAreTaken(world);
  return () => claimPrepared(world, gtrid, ['inventory']);
}

async function copiedLog(stage: Stage): Promise<Claim> {
  const { world } = stage;
  const start = await openedWorld(stage);
  const { gtrid } = await inBoth(world);
  const copy = await copyOf(world);
  await sql(copy, 'order', 'UPDATE dtx_xa_log SET home = NULL');
  await start(copy);
  await looksAreTaken(copy);
  return () => claimPrepared(world, gtrid, ['payment', 'inventory']);
}

export const xaLogScenarios: Scenario[] = [
  {
    promise: 'a log that was emptied rolls nothing back',
    mutants: [sentinelOff],
    play: emptiedLog,
  },
  {
    promise: 'a branch with a committed sibling is never rolled back, even if the log has no decision',
    mutants: [evidenceOff],
    play: shortenedLog,
  },
  {
    promise: 'a copy of the databases ends no branch of the original',
    mutants: [traceOff],
    play: copiedLog,
  },
];
