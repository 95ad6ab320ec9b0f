// Participant's side of steps 2 and 4: the barrier, then the method, in one transaction. It belongs to the call, or to the
// initiator in the same process. If the process dies before its commit, neither has happened.
import { z } from 'zod';
import { inTimeOf } from '../core/async/user-code-time-limit.js';
import { checkedJson } from '../core/broker/outgoing-payload.js';
import { acceptedBy, applySchema, problemOfSchema, type StandardSchema } from '../core/broker/schema.js';
import type { Sql } from '../core/database/sql-executor.js';
import { DtxError } from '../core/errors/errors.js';
import { failpoint } from '../core/failpoint.js';
import { copyOfJson } from '../core/json-copy.js';
import { type BarrierDecision, enterCancel, enterConfirm, enteredDirectly, enterTry, keepData } from './barrier.js';
import type { BranchKey } from './barrier-row-matching.js';
import type { Call, Verdict } from './call-messages.js';
import { failpoints } from './failpoints.js';
import type { Joined } from './own-participant.js';
import type { TccBranch } from './participant-class-types.js';
import type { Participant } from './participant-contract.js';
import type { MountedParticipant } from './participant-discovery.js';
import { keyOf } from './protocol-violations.js';
import { TIMEOUT } from './stored-outcome.js';

/** The result of Try without a schema in its contract. */
const ANY_JSON = z.unknown();

/** The arguments of a call do not fit the contract of this process. */
export class Misfit extends Error {}

/** Rolls the transaction back, barrier rows included, and carries the answer. */
export class RolledBack extends Error {
  constructor(readonly verdict: Verdict) {
    super(verdict.reason);
  }
}

/** @throws the reason for every answer but `ok` */
export async function runPhase(
  { tx, sql, answers }: Joined,
  call: Call,
  { participant, bytesMax }: { participant: MountedParticipant; bytesMax: number },
): Promise<void> {
  const key = keyOf(call, participant.contract);
  // guard: tcc.enter
  const passage = await enter(sql, key, call, { participant, answers });
  if (passage.kind === 'late') throw new RolledBack({ verdict: 'refused', reason: TIMEOUT });
  if (passage.kind === 'illegal') throw new RolledBack({ verdict: 'illegal', reason: passage.what });
  if (passage.kind === 'unclear') throw new RolledBack({ verdict: 'failed', reason: passage.what });
  if (passage.kind !== 'run') return;
  const { contract } = participant;
  const branch = branchOf(call, storedResult(contract, passage.data));
  const returned = await participant[call.phase](tx, fitting(contract, call), branch);
  if (call.phase === 'try') await keepData(sql, key, resultOfTry(contract, returned, bytesMax));
}

function enter(
  sql: Sql,
  key: BranchKey,
  { phase }: Call,
  { participant, answers }: { participant: MountedParticipant; answers: readonly unknown[] | undefined },
): Promise<BarrierDecision> {
  if (phase === 'cancel') return enterCancel(sql, key, participant.cancelWithoutTry);
  const direct = answers && (() => enteredDirectly(sql, key, { phase, answers }));
  if (phase === 'confirm') return direct?.() ?? enterConfirm(sql, key);
  return failpoint(failpoints.tryInserted, direct ?? (() => enterTry(sql, key)));
}

/** Runs `@Confirmed`, after the commit. If the process dies here, the initiator confirms again and it runs again. */
export async function afterConfirm(
  call: Call,
  { contract, confirmed }: MountedParticipant,
  limitMs: number,
): Promise<void> {
  if (!confirmed) return;
  const limits = { what: `@Confirmed of ${contract.name}`, limitMs };
  await inTimeOf(limits, () => confirmed(fitting(contract, call), branchOf(call, undefined)));
}

/** The result of Try for Confirm and Cancel. @throws DtxError when it cannot be stored, which undoes the Try */
export function resultOfTry({ name, version, result }: Participant, returned: unknown, bytesMax: number): unknown {
  if (returned === undefined && (!result || applySchema(result, undefined).ok)) return undefined;
  const misfit = `result of Try does not fit TCC participant ${name} v${version}`;
  const subject = { whole: 'result', misfit, option: 'payloadMaxBytes' } as const;
  const { json } = checkedJson(subject, result ?? ANY_JSON, returned, bytesMax);
  return JSON.parse(json);
}

/**
 * The arguments of a call, a copy for every run, since a method or a schema may change them. A local call is not encoded.
 * @throws Misfit
 */
function fitting({ name, args }: Participant, call: Call): unknown {
  return applied(args, copyOfJson(call.args), `arguments do not fit ${name}`);
}

/** @throws Misfit if the stored result of Try does not fit the contract of this process */
function storedResult({ name, result }: Participant, data: unknown): unknown {
  return result && data !== undefined ? applied(result, data, `stored result of Try does not fit ${name}`) : data;
}

function applied(schema: StandardSchema, json: unknown, misfit: string): unknown {
  try {
    return acceptedBy(schema, json, misfit);
  } catch (error) {
    throw new Misfit(error instanceof DtxError ? error.message : `${misfit}: ${problemOfSchema(error)}`);
  }
}

function branchOf<Data>({ gid, branch, initiator, reason, decidedAt }: Call, data: Data | undefined): TccBranch<Data> {
  const at = decidedAt === undefined ? undefined : new Date(decidedAt);
  return { gid, branch, initiator, data, reason, decidedAt: at };
}
