import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import { Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { checkedJson } from '../broker/outgoing-payload.js';
import { DtxError } from '../errors/errors.js';
import { isLockWait } from '../errors/sql-errors.js';
import { assertGid } from '../ids.js';
import { clockStopped, NOW_IN_ANY_SESSION } from './clock-sql.js';
import { Database } from './database.service.js';
import { insertFirst } from './insert-first.js';
import { joinTransaction } from './join-or-run-transaction.js';
import type { Migration } from './migrate.js';
import type { Sql } from './sql-executor.js';

/**
 * The key was used before with another body.
 * @example
 *   if (error instanceof IdempotencyKeyReused) throw new UnprocessableEntityException(error.message);
 */
export class IdempotencyKeyReused extends DtxError {}
/**
 * The first call with this key is still running, so its outcome is unknown. Retryable.
 * @example
 *   if (error instanceof IdempotencyKeyBusy) throw new ConflictException(error.message);
 */
export class IdempotencyKeyBusy extends DtxError {}

/** An Idempotency-Key and the call that it identifies. */
export interface KeyClaim {
  /** The scope of the key, such as `POST /orders`. */
  readonly route: string;
  /** The value of the header, 1 to 255 bytes. */
  readonly key: string;
  /**
   * Who calls, such as the id of the authenticated user or tenant. Two callers may choose the same key. Without it they
   * share the key, and the second one gets the answer to the first.
   */
  readonly caller?: string;
  /** The request body, compared by content and independent of field order. */
  readonly body: unknown;
  /** The gid of the transaction that the key identifies. */
  readonly gid: string;
}

/** The result of a claim. `first: false` has the gid of the first call, and its outcome as stored by `settle`, or null. */
export type KeyOwner = { first: true } | { first: false; gid: string; outcome: unknown };

/** The lengths of the columns. */
const ROUTE_CHARS_MAX = 64;
const KEY_BYTES_MAX = 255;

export const idempotencyMigrations: Migration[] = [
  {
    version: 1,
    name: 'Idempotency-Key to gid',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_idempotency (
        route VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        idempotency_key VARBINARY(255) NOT NULL,
        fingerprint CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        gid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        outcome JSON NULL,
        created_at DATETIME(3) NOT NULL,
        PRIMARY KEY (route, idempotency_key),
        KEY by_age (created_at)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
];

/**
 * Gives each Idempotency-Key one effect. The row of the key is written in the transaction of the effect. A caller that
 * lost the answer repeats the call with the same key. If the process dies before the commit, key and effect are both
 * missing.
 */
@Injectable()
export class IdempotencyKeys implements OnModuleInit {
  /** @internal */
  constructor(private readonly database: Database) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-idempotency', idempotencyMigrations);
  }

  /**
   * Claims a key, or returns its existing owner. While the transaction of the first call is open, the claim waits up to
   * the lock wait of the session.
   * @throws IdempotencyKeyReused if the key was claimed with another body
   * @throws IdempotencyKeyBusy if the first call is still running after the lock wait
   * @throws TransactionRequired outside a transaction
   * @throws DtxError for a malformed route, key, caller or gid
   * @example
   *   const key = { route: 'POST /orders', caller: user.id, key: idempotencyKey, body: purchase };
   *   const owner = await this.keys.claim(tx, { ...key, gid: orderId });
   *   if (!owner.first) return this.orders.find(owner.gid);
   */
  async claim(tx: EntityManager, claim: KeyClaim): Promise<KeyOwner> {
    assertKey(claim);
    const fingerprint = fingerprintOf(claim.body);
    const gid = assertGid(claim.gid);
    const guard = await joinTransaction(tx, this.database.source, 'IdempotencyKeys.claim');
    const idempotency_key = storedKeyOf(claim);
    const row = { route: claim.route, idempotency_key, fingerprint, gid, created_at: NOW_IN_ANY_SESSION };
    try {
      const first = await insertFirst(guard, this.table, row).catch(clockStopped);
      return first ? { first } : await this.owner(guard, claim, fingerprint);
    } catch (error) {
      // A statement that waited in front may wait for a lock of its own. That has ended the transaction.
      if (isLockWait(error) && guard.failure === undefined)
        throw new IdempotencyKeyBusy(
          'the first call with this Idempotency-Key is still running; retry later with the same key',
        );
      throw error;
    }
  }

  /**
   * Returns the committed owner of a key, or null for an unused key. For callers that can answer a repetition from
   * their own database. It only reads. `claim` decides.
   * @throws IdempotencyKeyReused if the key was claimed with another body
   * @throws DtxError for a malformed route, key or caller
   */
  async find(claim: Omit<KeyClaim, 'gid'>): Promise<{ gid: string; outcome: unknown } | null> {
    assertKey(claim);
    const rows: KeyRow[] = await this.database.work.query(this.selectKey, [claim.route, storedKeyOf(claim)]);
    return rows[0] ? standsFor(rows[0], fingerprintOf(claim.body)) : null;
  }

  /**
   * Stores an outcome with the key, for results without another trace, such as a refusal. Only once, because a caller
   * may know it.
   * @throws DtxError if the key is not claimed or has an outcome, or if the outcome is not JSON or is too large
   * @throws TransactionRequired outside a transaction
   */
  async settle(
    tx: EntityManager,
    { outcome, ...claimed }: Pick<KeyClaim, 'route' | 'key' | 'caller'> & { outcome: unknown },
  ): Promise<void> {
    const { route } = claimed;
    assertKey(claimed);
    const json = outcome === undefined ? null : checkedJson(OUTCOME, z.unknown(), outcome, OUTCOME_MAX_BYTES).json;
    const guard = await joinTransaction(tx, this.database.source, 'IdempotencyKeys.settle');
    const statement = `UPDATE ${this.table} SET outcome = ? WHERE route = ? AND idempotency_key = ? AND outcome IS NULL`;
    const { affectedRows } = await guard.query(statement, [json, route, storedKeyOf(claimed)]);
    if (affectedRows !== 1)
      throw new DtxError(`cannot settle an Idempotency-Key of ${route}: it is not claimed or already has an outcome`);
  }

  private get table(): string {
    return this.database.tableIn('dtx_idempotency');
  }

  /** The outcome as hex, because the character set of the session may lack its letters. */
  private get selectKey(): string {
    return `SELECT fingerprint, gid, HEX(CAST(outcome AS CHAR CHARACTER SET utf8mb4)) AS outcome FROM ${this.table}
      WHERE route = ? AND idempotency_key = ?`;
  }

  /** The locking read sees the committed row in any isolation level and after any earlier snapshot. */
  private async owner(sql: Sql, claim: KeyClaim, fingerprint: string): Promise<KeyOwner> {
    const statement = `${this.selectKey} LOCK IN SHARE MODE`;
    const rows: KeyRow[] = await sql.query(statement, [claim.route, storedKeyOf(claim)]);
    if (!rows[0])
      throw new IdempotencyKeyBusy('the first call with this Idempotency-Key has just ended; retry with the same key');
    return { first: false, ...standsFor(rows[0], fingerprint) };
  }
}

/** This byte begins no text in UTF-8, so the digest of a caller and a key never equals a key without a caller. */
const DIGEST_MARK = Buffer.from([0xff]);

/** The key as its column has it. The digest of a caller and its key fits the column, whatever their lengths. */
function storedKeyOf({ key, caller }: { key: string; caller?: string }): Buffer {
  if (caller === undefined) return Buffer.from(key);
  const digest = createHash('sha256')
    .update(JSON.stringify([caller, key]))
    .digest();
  return Buffer.concat([DIGEST_MARK, digest]);
}

/**
 * Rejects a route or key that its column would change in some session. A truncated key would equal another key. The
 * server ignores trailing spaces of a route. Types are checked too, since Nest passes a missing header as undefined.
 * @throws DtxError
 */
function assertKey(given: { route: unknown; key: unknown; caller?: unknown }): void {
  const { route, key, caller } = given;
  if ('caller' in given && (typeof caller !== 'string' || caller === ''))
    throw new DtxError(
      `invalid caller of an Idempotency-Key: expected a text such as the id of the user, got ${shown(caller)}; leave it out for a key that all callers share`,
    );
  if (typeof route !== 'string' || !/^[!-~]([ -~]{0,62}[!-~])?$/.test(route))
    throw new DtxError(
      `invalid Idempotency-Key route: expected 1 to ${ROUTE_CHARS_MAX} ASCII characters without spaces around them, got ${shown(route)}`,
    );
  if (typeof key !== 'string') {
    const remedy = key == null ? 'send the header Idempotency-Key' : 'pass the header as a string';
    throw new DtxError(
      `invalid Idempotency-Key: expected a text of 1 to ${KEY_BYTES_MAX} bytes, got ${shown(key)}; ${remedy}`,
    );
  }
  const bytes = Buffer.byteLength(key);
  if (bytes < 1 || bytes > KEY_BYTES_MAX)
    throw new DtxError(`invalid Idempotency-Key: expected 1 to ${KEY_BYTES_MAX} bytes, got ${bytes}`);
}

/** The value in one line. JSON has no undefined and no bigint. */
function shown(value: unknown): string {
  const text =
    typeof value === 'string' ? JSON.stringify(value) : inspect(value, { compact: true, breakLength: Infinity });
  return text.slice(0, 80);
}

const OUTCOME = { whole: 'outcome', misfit: 'outcome does not fit an Idempotency-Key' };
const OUTCOME_MAX_BYTES = 256 * 1024;

interface KeyRow {
  readonly fingerprint: string;
  readonly gid: string;
  /** JSON as hex. */
  readonly outcome: string | null;
}

function standsFor(
  { fingerprint: known, gid, outcome }: KeyRow,
  fingerprint: string,
): { gid: string; outcome: unknown } {
  if (known !== fingerprint)
    throw new IdempotencyKeyReused('this Idempotency-Key was used with another body; use a new key');
  return { gid, outcome: outcome === null ? null : JSON.parse(Buffer.from(outcome, 'hex').toString()) };
}

/** SHA-256 over the JSON with its fields sorted by name. */
function fingerprintOf(body: unknown): string {
  const sorted = (_: string, value: unknown) =>
    value && typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return createHash('sha256')
    .update(JSON.stringify(body, sorted) ?? 'null')
    .digest('hex');
}
