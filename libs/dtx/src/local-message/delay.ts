// The delay of a message as the caller gives it: checked, and as SQL for the row.
import { NOW_IN_ANY_SESSION } from '../core/database/clock-sql.js';
import { SqlExpression } from '../core/database/sql-literals.js';
import { DtxError } from '../core/errors/errors.js';

/**
 * When a message is due: after a time in milliseconds by the clock of the database, or at a moment. A moment in the past
 * is due at once.
 */
export type Delay =
  | { readonly dueInMs: number; readonly dueAt?: undefined }
  | { readonly dueAt: Date; readonly dueInMs?: undefined };

/** Options of `LocalMessages.append` for a message that is sent later. */
export type DelayOptions = Delay & {
  /**
   * A name for `cancel` and `reschedule`: 1 to 140 of [0-9A-Za-z_.:-], such as the id of the order. It is unique among
   * the open messages of the contract.
   */
  readonly name?: string;
  /**
   * Withdraws an open message of this name and takes its name. Without it, or where the other message can no longer be
   * withdrawn, `append` throws NameTaken.
   */
  readonly replace?: boolean;
};

/** A delayed message: by its name, or by the id that `append` has returned. */
export type WhichMessage =
  | { readonly name: string; readonly id?: undefined }
  | { readonly id: string; readonly name?: undefined };

/**
 * An open message of the contract has this name. Nothing was appended. `state` is that of the other message. If it is not
 * SCHEDULED, the message is on its way.
 * @example
 *   if (error instanceof NameTaken) await this.messages.reschedule(tx, orderExpired, { name }, { dueInMs });
 */
export class NameTaken extends DtxError {
  constructor(
    readonly contract: string,
    readonly messageName: string,
    readonly state: string,
  ) {
    const advice =
      state === 'SCHEDULED'
        ? 'reschedule or cancel it, or append with replace: true'
        : 'it is on its way and cannot be replaced; use another name, or append again when it is handled';
    super(`${contract} has an open message named "${messageName}" (${state}); ${advice}`);
  }
}

/** The part of a contract that says which messages belong to it. */
export type ContractName = { readonly name: string };

const NAME = /^[0-9A-Za-z_.:-]{1,140}$/;
const ID = /^[0-9a-f-]{36}$/;

/** A due time as SQL, and the time in milliseconds until then by the last reading of the database clock. */
export interface DueTime {
  readonly sql: SqlExpression;
  readonly inMs: number;
}

/** @throws DtxError that names the problem */
export function dueTimeOf(
  delay: Delay,
  about: string,
  { delayMaxMs, nowMs }: { delayMaxMs: number; nowMs: number },
): DueTime {
  const { dueInMs, dueAt } = delay as { dueInMs?: unknown; dueAt?: unknown };
  if ((dueInMs === undefined) === (dueAt === undefined))
    throw new DtxError(`${about}: give either dueInMs (milliseconds) or dueAt (a Date)`);
  if (dueAt !== undefined && !(dueAt instanceof Date && Number.isFinite(dueAt.getTime())))
    throw new DtxError(`${about}: dueAt must be a valid Date, got ${String(dueAt)}`);
  if (dueInMs !== undefined && !(Number.isSafeInteger(dueInMs) && (dueInMs as number) >= 0))
    throw new DtxError(`${about}: dueInMs must be a whole number of milliseconds from 0, got ${String(dueInMs)}`);
  // A message in the past is due now. By an older time its consumer would take it for a forgotten one.
  const atMs = dueAt && Math.max((dueAt as Date).getTime(), nowMs);
  const inMs = (dueInMs as number | undefined) ?? atMs! - nowMs;
  if (inMs > delayMaxMs)
    throw new DtxError(
      `${about}: due in ${inMs} ms, which is more than localMessage.delayMaxMs (${delayMaxMs} ms); raise the option, or append it later`,
    );
  const sql =
    atMs === undefined
      ? `${NOW_IN_ANY_SESSION.sql} + INTERVAL ${inMs * 1_000} MICROSECOND`
      : `CAST('1970-01-01' AS DATETIME(3)) + INTERVAL ${atMs * 1_000} MICROSECOND`;
  return { sql: new SqlExpression(sql), inMs };
}

/** @throws DtxError for a name that no row can have */
export function checkedName(name: string, contract: ContractName): string {
  if (typeof name !== 'string' || !NAME.test(name))
    throw new DtxError(
      `invalid message name for ${contract.name}: expected 1 to 140 of [0-9A-Za-z_.:-], got ${String(JSON.stringify(name)).slice(0, 80)}`,
    );
  return name;
}

/** @throws DtxError unless it is a name or an id */
export function checkedWhich(which: WhichMessage, contract: ContractName): WhichMessage {
  const { name, id } = which ?? {};
  if ((name === undefined) === (id === undefined))
    throw new DtxError(`cannot find a message of ${contract.name}: give either { name } or { id }`);
  if (name !== undefined) return { name: checkedName(name, contract) };
  if (typeof id !== 'string' || !ID.test(id))
    throw new DtxError(`invalid message id for ${contract.name}: expected what append has returned, got ${String(id)}`);
  return { id };
}
