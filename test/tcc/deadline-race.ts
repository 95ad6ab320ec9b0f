/** Callers who decide at the moment of their deadline, against the scans of two instances that wait for that deadline. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { isDatabaseAway } from '../../libs/dtx/src/core/errors/sql-errors.js';
import type { TccOutcome } from '../../libs/dtx/src/index.js';
import type { Decision } from '../../libs/dtx/src/tcc/tcc-tables.js';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { write } from './effect-table.js';
import { type Library, LittleApp, participantOf } from './little-app.js';

/** Long enough for most Tries. Where the caller waits for the scan, every Try must be in time, also on a busy machine. */
const TIMEOUT_MS = { 'at the deadline': 200, 'before the scan': 3_000, 'after the scan': 3_000 } as const;
/** `before the scan` is a moment between two scans. */
const SCAN_INTERVAL_MS = { 'at the deadline': 20, 'before the scan': 2_000, 'after the scan': 20 } as const;
const PAST_DEADLINE_MS = 20;
const CALLERS = 24;

export interface Race {
  /** The outcome that each caller got. */
  readonly told: TccOutcome[];
  /** How many compare-and-sets of callers were too late. A race needs at least one. */
  readonly late: Record<Decision, number>;
  /** Callers whose every Try was in time. Only they can confirm. */
  readonly wouldConfirm: number;
}

/**
 * When the caller decides: around its deadline, after its deadline with a row that the scan has not seen, or after the
 * scan has decided and cancelled.
 */
type When = keyof typeof TIMEOUT_MS;

/** Two instances of one initiator, each with a participant that records its effects. */
export async function racers(
  sandbox: Sandbox,
  library: Library,
  when: When = 'at the deadline',
): Promise<{ apps: LittleApp[]; run(times: number): Promise<Race> }> {
  const args = z.object({});
  const contract = library.decorators.defineParticipant({ name: 'payment.race', version: 1, args });
  const type = participantOf(library, contract, {
    try: (tx, _, { gid }) => write(tx, gid, 'try'),
    confirm: (tx, _, { gid }) => write(tx, gid, 'confirm'),
    cancel: (tx, _, { gid }) => write(tx, gid, 'cancel'),
  });
  // A caller that waits until the scan has decided must not be answered before.
  const patience = when === 'after the scan' ? { secondPhaseWaitMs: 30_000 } : {};
  const participates = { markDelayMs: 5, ...patience };
  const core = { scanIntervalMs: SCAN_INTERVAL_MS[when] };
  const one = () => LittleApp.start({ sandbox, library, providers: [type], participates, core });
  const apps = await Promise.all([one(), one()]);
  const late = { CONFIRM: 0, CANCEL: 0 };
  let wouldConfirm = 0;
  for (const app of apps) decideLate(app, { when, late, onConfirm: () => wouldConfirm++ });
  const run = async (times: number) => {
    const told: TccOutcome[] = [];
    let open = 0;
    // A caller without an outcome begins again. It gets none while a busy machine answers no statement for seconds.
    const caller = async (app: LittleApp) => {
      while (told.length + open < times) {
        open++;
        const outcome = await app.tcc
          .run({ timeoutMs: TIMEOUT_MS[when] }, (t) => t.call(contract, {}))
          .catch(asUnknown);
        open--;
        if (outcome && outcome.status !== 'PENDING') told.push(outcome);
      }
    };
    await Promise.all(Array.from({ length: CALLERS }, (_, n) => caller(apps[n % 2]!)));
    return { told, late, wouldConfirm };
  };
  return { apps, run };
}

function decideLate(
  app: LittleApp,
  { when, late, onConfirm }: { when: When; late: Record<Decision, number>; onConfirm: () => void },
): void {
  // Earlier after a loss, later after a win: half of the callers win, even on a busy machine.
  let leadMs = 5;
  type Cas = (begun: { gid: string }, decision: Decision, reason: string | null) => Promise<unknown>;
  const { decisions } = app.tcc as unknown as { decisions: { make: Cas } };
  const cas = decisions.make.bind(decisions);
  decisions.make = async (begun, decision, reason) => {
    if (decision === 'CONFIRM') onConfirm();
    if (decision === 'CONFIRM' && when === 'after the scan') await untilCancelled(app, begun.gid);
    else if (decision === 'CONFIRM' && when === 'before the scan')
      await sleep(Math.max(0, await msLeft(app, begun.gid)) + PAST_DEADLINE_MS);
    else if (decision === 'CONFIRM')
      await sleep(Math.max(0, (await msLeft(app, begun.gid)) - 2 * leadMs * Math.random()));
    const decided = await cas(begun, decision, reason);
    if (!decided) late[decision]++;
    if (decision === 'CONFIRM') leadMs = Math.max(0, leadMs + (decided ? -1 : 1));
    return decided;
  };
}

async function msLeft({ source }: LittleApp, gid: string): Promise<number> {
  const query = 'SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), deadline) / 1000 AS ms FROM dtx_tcc WHERE id = ?';
  const [{ ms }] = await source.query(query, [gid]);
  return Number(ms);
}

/** Waits for the final mark: a wrong caller that is quicker than the scan's Cancel would win in every branch unnoticed. */
function untilCancelled({ source }: LittleApp, gid: string): Promise<unknown> {
  const query = 'SELECT state FROM dtx_tcc WHERE id = ?';
  return until('the scan has cancelled', async () => (await source.query(query, [gid]))[0].state === 'CANCELLED');
}

/** Every transaction whose effects differ from its state, and every answer to a caller that does. */
export async function contradictions(sandbox: Sandbox, told: readonly TccOutcome[]): Promise<string[]> {
  await until('everything is carried out or parked', async () => {
    const open = await sql(sandbox, 'payment', `SELECT id FROM dtx_tcc WHERE state LIKE '%ING' LIMIT 1`);
    return open.length === 0;
  });
  const states = await sql<{ id: string; state: string }>(sandbox, 'payment', 'SELECT id, state FROM dtx_tcc');
  const rows = await sql<{ gid: string; effects: string }>(
    sandbox,
    'payment',
    `SELECT gid, GROUP_CONCAT(phase ORDER BY n SEPARATOR ' ') AS effects FROM effect GROUP BY gid`,
  );
  const effectsOf = new Map(rows.map(({ gid, effects }) => [gid, effects]));
  const toldOf = new Map(told.map(({ gid, status }) => [gid, status]));
  return states.flatMap(({ id, state }) => {
    const effects = effectsOf.get(id) ?? '';
    const answer = toldOf.get(id) ?? state;
    const allowed = state === 'CONFIRMED' ? ['try confirm'] : ['', 'try cancel'];
    if (answer === state && allowed.includes(effects)) return [];
    return [`${id}: answered ${answer}, on disk ${state}, effects: ${effects || 'none'}`];
  });
}

/** The registration failed: the machine was too busy for it, or the database did not answer. */
function asUnknown(error: unknown): undefined {
  if ((error as Error).constructor.name !== 'OutcomeUnknown' && !isDatabaseAway(error)) throw error;
}
