import { expect } from 'vitest';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { preparedOf, recover } from '../xa/branches-and-decisions.js';
import { begin, decideToCommit, endAll, FORMAT_ID, finish, orphan, prepare } from '../xa/branches-by-hand.js';
import { copyOf } from '../xa/database-copies.js';
import { LittleXa, libraryOf, prepareTables } from '../xa/little-xa.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';
import {
  evidenceOff,
  hereIsAnywhere,
  orphanAlone,
  PREPARED,
  rollsBackUntraced,
  sentinelOff,
  traceOff,
  uncompared,
} from './xa-log.mutants.js';

/** A sandbox with a log, and how to start an app of it. */
async function openedSandbox({ sandbox, root, keep }: Stage): Promise<(of?: Sandbox) => Promise<LittleXa>> {
  const library = libraryOf(root);
  await prepareTables(sandbox, library);
  const start = async (of = sandbox) => keep(await LittleXa.start({ sandbox: of, library, xa: { timeoutMs: 10_000 } }));
  await (await LittleXa.start({ sandbox, library })).close();
  keep({ close: () => endAll(sandbox) });
  return start;
}

/** A transaction that was prepared in both databases a minute ago, and whose process is dead. */
async function inBoth(sandbox: Sandbox): Promise<{ id: string; gtrid: string }> {
  const begun = await begin(sandbox);
  for (const app of ['payment', 'inventory'] as const)
    await prepare(sandbox, app, { gtrid: begun.gtrid, formatId: FORMAT_ID });
  return begun;
}

/** Waits until scans have run: an orphan that began after the fault of the log was found is ended. */
async function looksAreTaken(sandbox: Sandbox): Promise<void> {
  const tries: string[] = [];
  const isOneEnded = async () => {
    const left = new Set((await recover(sandbox, 'payment')).map(({ gtrid }) => gtrid));
    const isEnded = tries.some((gtrid) => !left.has(gtrid));
    if (!isEnded) tries.push((await orphan(sandbox, { ageMs: 0 })).gtrid);
    return isEnded;
  };
  await until('an orphan that may be ended is ended', isOneEnded, { everyMs: 500 });
}

const claimPrepared = async (sandbox: Sandbox, gtrid: string, at: readonly string[]) => {
  const left = (await preparedOf(sandbox)).filter((one) => one.gtrid === gtrid);
  expect(
    left.map(({ app }) => app),
    PREPARED,
  ).toEqual(at);
};

async function emptiedLog(stage: Stage): Promise<Claim> {
  const { sandbox } = stage;
  const start = await openedSandbox(stage);
  const decided = await inBoth(sandbox);
  await decideToCommit(sandbox, { ...decided, isDue: false });
  await sql(sandbox, 'order', 'TRUNCATE dtx_xa');
  await start();
  await looksAreTaken(sandbox);
  return () => claimPrepared(sandbox, decided.gtrid, ['payment', 'inventory']);
}

async function shortenedLog(stage: Stage): Promise<Claim> {
  const { sandbox } = stage;
  const start = await openedSandbox(stage);
  const { gtrid } = await inBoth(sandbox);
  await finish(sandbox, 'payment', { gtrid, formatId: FORMAT_ID, how: 'COMMIT' });
  await start();
  await looksAreTaken(sandbox);
  return () => claimPrepared(sandbox, gtrid, ['inventory']);
}

async function copiedLog(stage: Stage): Promise<Claim> {
  const { sandbox } = stage;
  const start = await openedSandbox(stage);
  const { gtrid } = await inBoth(sandbox);
  const copy = await copyOf(sandbox);
  await sql(copy, 'order', 'UPDATE dtx_xa_log SET home = NULL');
  await start(copy);
  await looksAreTaken(copy);
  return () => claimPrepared(sandbox, gtrid, ['payment', 'inventory']);
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
    pair: [uncompared, orphanAlone],
    play: shortenedLog,
  },
  {
    promise: 'a copy of the databases ends no branch of the original',
    mutants: [traceOff],
    pair: [hereIsAnywhere, rollsBackUntraced],
    play: copiedLog,
  },
];
