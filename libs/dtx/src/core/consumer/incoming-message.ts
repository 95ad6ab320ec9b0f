import { createHash } from 'node:crypto';
import type { ConsumeMessage } from 'amqplib';
import type { EntityManager } from 'typeorm';
import { fromProperties, typeOf } from '../broker/envelope.js';
import { pathText } from '../broker/json-loss-check.js';
import type { Contract } from '../broker/message-contract.js';
import { acceptedBy, applySchema, problemOfSchema } from '../broker/schema.js';
import type { Sharing } from '../database/shared-transactions.js';
import type { Rejected } from '../errors/errors.js';
import { idTimeMs } from '../ids.js';

/** The metadata of a delivery, for its handler. */
export interface DeliveryInfo {
  readonly messageId: string;
  readonly consumer: string;
  readonly gid: string | null;
  readonly scheme: string;
  readonly traceparent: string | null;
}

/**
 * Returns the payload as it arrived, a new value at each call. A handler that changes its message does not change the
 * message of its retry, of `@OnRejected` or of `@BeforeAck`.
 */
export type PayloadReader = () => unknown;

/**
 * One consumer of one contract in this app, with the user's handlers behind the pipes, filters and interceptors of
 * Nest.
 */
export interface Endpoint {
  /** `<app>.<consumer>` */
  readonly consumer: string;
  readonly contract: Contract;
  /** The way to detect duplicates. */
  readonly duplicates: 'inbox' | 'redis';
  /** The transactions that several of its messages may share, if they may. */
  readonly sharing: Sharing | undefined;
  handle(tx: EntityManager, payload: PayloadReader, info: DeliveryInfo): Promise<void>;
  /** `@OnRejected` of the consumer, if there is one. */
  reject: ((tx: EntityManager, payload: PayloadReader, no: Rejected, info: DeliveryInfo) => Promise<void>) | undefined;
  /**
   * `@BeforeAck` of the consumer, if there is one. Runs after the commit and before receipt and ack, also for a
   * duplicate.
   */
  beforeAck: ((payload: PayloadReader, info: DeliveryInfo) => Promise<void>) | undefined;
}

/** A message, from the broker or from its stored row. */
export interface Incoming {
  readonly id: string;
  /** False if the sender set no valid message id. `id` is then derived from the content. */
  readonly isNamed: boolean;
  readonly info: DeliveryInfo;
  readonly type: string | null;
  readonly replyTo: string | null;
  /**
   * Creation time in milliseconds since the epoch, by the database clock of the sender. The due time of a delayed message.
   * Undefined if neither a header
   * nor the id carries it, as with foreign senders. Such a message is handled at any age.
   */
  readonly madeAtMs: number | undefined;
  readonly body: Buffer;
}

/** The tolerated difference between the clocks of two database servers, in both directions. */
const CLOCK_SKEW_MS = 600_000;
/**
 * Extra retention of a handled row beyond the maximum age of messages. Covers clock differences and the handling time.
 */
export const INBOX_SLACK_MS = 6 * CLOCK_SKEW_MS;

/** The present time by the database clock, and the maximum age of a message. */
export interface AgeLimits {
  readonly nowMs: number;
  readonly retentionMs: number;
}

/** Limits without a maximum age. For a message whose row exists, because its age was checked before the insert. */
export const ANY_AGE: AgeLimits = { nowMs: 0, retentionMs: Number.MAX_SAFE_INTEGER };

/** The reason why a message can never be handled. */
type Unreadable = { ok: false; problem: string; isTooOld?: true };
/** The result of the checks without code of the user. */
export type Checked = { ok: true } | Unreadable;
/** A valid payload, or the reason why there is none. */
export type Read = { ok: true; payload: PayloadReader } | Unreadable;

/** The id format of `/dtx/transactions/{id}`. An operator could not address a delivery with any other id. */
const MESSAGE_ID = /^[0-9A-Za-z_.:-]{1,64}$/;
/** The receipt queue of an app, or of a scheme of the app, classic or quorum. */
const RECEIPT_QUEUE = /^dtx\.[a-z][a-z0-9-]{0,39}\.receipts\.v1(\.quorum)?$/;
/**
 * The largest stored body. A statement carries it as hex, two bytes for one, and MariaDB accepts 16 MiB by default. A
 * longer body is truncated and therefore parked, because the rest is not valid JSON.
 */
const BODY_STORED_MAX = 8_000_000;

/** Reads the readable parts of a delivery. Never throws, because any client may write to a queue. */
export function incomingOf(message: ConsumeMessage, consumer: string): Incoming {
  const envelope = fromProperties(message.properties);
  // A digest of the content replaces a missing or invalid id, so that a redelivery is a duplicate.
  const given = envelope.messageId ?? '';
  const digest = () => createHash('sha256').update(given).update(message.content).digest('hex').slice(0, 40);
  const isNamed = MESSAGE_ID.test(given);
  const messageId = isNamed ? given : digest();
  return {
    id: `${messageId}.${consumer}`,
    isNamed,
    info: {
      messageId,
      consumer,
      gid: envelope.gid ?? null,
      scheme: envelope.scheme ?? 'unknown',
      traceparent: envelope.traceparent ?? null,
    },
    type: envelope.type ?? null,
    // Receipts go only to receipt queues, so a forged message cannot write elsewhere.
    replyTo: envelope.replyTo && RECEIPT_QUEUE.test(envelope.replyTo) ? envelope.replyTo : null,
    // A sender without the header `dtx-made-at` is older than the header. Its ids are UUID v7.
    madeAtMs: envelope.madeAtMs ?? idTimeMs(messageId),
    body: message.content.length > BODY_STORED_MAX ? message.content.subarray(0, BODY_STORED_MAX) : message.content,
  };
}

/** The age of a message in milliseconds, by the clock of this database. A delayed message is new when it is due. */
export function lagOf({ madeAtMs }: Incoming, database: { nowMs(): number }): number | undefined {
  return madeAtMs === undefined ? undefined : database.nowMs() - madeAtMs;
}

/**
 * Checks type, id and age. A failure is permanent. Runs no code of the user, so it cannot kill the process and may run
 * before the row is stored. Never throws.
 */
export function check(incoming: Incoming, contract: Contract, limits: AgeLimits): Checked {
  const expected = typeOf(contract);
  if (incoming.type !== expected)
    return { ok: false, problem: `expected a message of type ${expected}, got ${incoming.type ?? 'none'}` };
  // The message may be a duplicate of one with an id, or another message with the same content. The receiver cannot
  // tell.
  if (!incoming.isNamed)
    return { ok: false, problem: 'no valid message id: the message may be a duplicate of a handled one' };
  const { madeAtMs } = incoming;
  if (madeAtMs !== undefined && limits.nowMs - madeAtMs > limits.retentionMs + CLOCK_SKEW_MS) {
    return {
      ok: false,
      isTooOld: true,
      problem: `older than inbox.retentionMs (${limits.retentionMs} ms): it may have been handled before`,
    };
  }
  return { ok: true };
}

/** As `check`, then reads JSON and applies the schema, which may be code of the user. Never throws. */
export function read(incoming: Incoming, contract: Contract, limits: AgeLimits): Read {
  const checked = check(incoming, contract, limits);
  if (!checked.ok) return checked;
  const text = incoming.body.toString('utf8');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const cut = incoming.body.length < BODY_STORED_MAX ? '' : `; only its first ${BODY_STORED_MAX} bytes are kept`;
    return { ok: false, problem: `not JSON: ${(error as Error).message}${cut}` };
  }
  const { payload, problems } = fit(json, contract);
  if (problems.length === 0)
    return {
      ok: true,
      payload: readerOf(payload, () =>
        acceptedBy(contract.schema, JSON.parse(text), `payload does not fit ${typeOf(contract)}`),
      ),
    };
  return { ok: false, problem: `does not fit ${typeOf(contract)}: ${problems.slice(0, 5).join('; ')}` };
}

/** Passes the parsed value to the first reader and parses again for later readers. Most messages have one reader. */
function readerOf(first: unknown, parse: () => unknown): PayloadReader {
  let isUsed = false;
  return () => {
    const payload = isUsed ? parse() : first;
    isUsed = true;
    return payload;
  };
}

/** A schema with code (`refine`, `transform`) may throw or be asynchronous. Both count as invalid. */
function fit(json: unknown, { schema }: Contract): { payload?: unknown; problems: string[] } {
  try {
    const applied = applySchema(schema, json);
    if (applied.ok) return { payload: applied.value, problems: [] };
    return { problems: applied.issues.map(({ path, message }) => `${pathText(path, 'body')}: ${message}`) };
  } catch (error) {
    return { problems: [problemOfSchema(error)] };
  }
}
