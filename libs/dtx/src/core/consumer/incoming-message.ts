import { createHash } from 'node:crypto';
import type { ConsumeMessage } from 'amqplib';
import type { EntityManager } from 'typeorm';
import type { Contract } from '../broker/contract.js';
import { fromProperties, typeOf } from '../broker/envelope.js';
import { type Rejected, textOf } from '../errors/errors.js';
import { idTimeMs } from '../ids.js';

/** What a handler may know about the delivery beside its payload. */
export interface DeliveryInfo {
  readonly messageId: string;
  readonly consumer: string;
  readonly gid: string | null;
  readonly scheme: string;
  readonly traceparent: string | null;
}

/**
 * Gives the payload as it arrived, a value of its own at each call: a handler that changes its message does not change
 * the message that its next run, its refusal path or the step before the ack gets.
 */
export type PayloadReader = () => unknown;

/** One consumer of one contract in this app, with the user's handler behind Nest's pipes, filters and interceptors. */
export interface Endpoint {
  /** `<app>.<consumer>` */
  readonly consumer: string;
  readonly contract: Contract;
  /** How a second delivery of a message is known. */
  readonly duplicates: 'inbox' | 'redis';
  handle(tx: EntityManager, payload: PayloadReader, info: DeliveryInfo): Promise<void>;
  /** The refusal path, where the consumer has one. */
  reject: ((tx: EntityManager, payload: PayloadReader, no: Rejected, info: DeliveryInfo) => Promise<void>) | undefined;
  /** After the commit and before receipt and ack, also for a duplicate, where the consumer has one. */
  beforeAck: ((payload: PayloadReader, info: DeliveryInfo) => Promise<void>) | undefined;
}

/** A message as it came, fresh from the broker or out of its stored row. */
export interface Incoming {
  readonly id: string;
  /** False when its sender gave it no usable message id: `id` is made of its content then. */
  readonly isNamed: boolean;
  readonly info: DeliveryInfo;
  readonly type: string | null;
  readonly replyTo: string | null;
  /**
   * When it was made, in milliseconds since the epoch, by the clock of its sender's database. Undefined when nobody can
   * tell: no header, and no time in its id. Such a message is handled, since every one of a foreign sender is like that.
   */
  readonly madeAtMs: number | undefined;
  readonly body: Buffer;
}

/** Clocks of two database servers may differ by so much, either way. */
const CLOCK_SKEW_MS = 600_000;
/** A handled row is kept for so much longer than messages are taken: skew of the clocks, and the time of the handling. */
export const INBOX_SLACK_MS = 6 * CLOCK_SKEW_MS;

/** Limits under which no message is too old: for one whose row is there already, which keeps it from being handled twice. */
export const ANY_AGE = { nowMs: 0, retentionMs: Number.MAX_SAFE_INTEGER };

/** A payload that fits its contract, or why there is none. */
export type Read = { ok: true; payload: PayloadReader } | { ok: false; problem: string; isTooOld?: true };

/** As `/dtx/transactions/{id}` takes it: a delivery under any other id could not be retried or settled by a person. */
const MESSAGE_ID = /^[0-9A-Za-z_.:-]{1,64}$/;
/** The name of an app, and of which of its schemes. */
const RECEIPT_QUEUE = /^dtx\.[a-z][a-z0-9-]{0,39}\.receipts\.v1$/;
/**
 * A stored body is written as hex, two bytes for one, into a statement, of which MariaDB takes 16 MiB unless told
 * otherwise. A longer message is cut off, which no JSON survives: it is parked for a person.
 */
const BODY_STORED_MAX = 8_000_000;

/** Reads what can be read from a delivery. Never throws: anyone may write to a queue. */
export function incomingOf(message: ConsumeMessage, consumer: string): Incoming {
  const envelope = fromProperties(message.properties);
  // A message without a usable id gets one from what it has, so that its redelivery is a duplicate as well.
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
    // Receipts go to receipt queues only: a forged message must not be able to write elsewhere.
    replyTo: envelope.replyTo && RECEIPT_QUEUE.test(envelope.replyTo) ? envelope.replyTo : null,
    // Who sends no header is older than the header, and its ids are made in the order of time.
    madeAtMs: envelope.madeAtMs ?? idTimeMs(messageId),
    body: message.content.length > BODY_STORED_MAX ? message.content.subarray(0, BODY_STORED_MAX) : message.content,
  };
}

/** Checks type, id, age, JSON and schema; what fails here can never succeed by itself. Never throws. */
export function read(incoming: Incoming, contract: Contract, limits: { nowMs: number; retentionMs: number }): Read {
  const expected = typeOf(contract);
  if (incoming.type !== expected)
    return { ok: false, problem: `expected a message of type ${expected}, got ${incoming.type ?? 'none'}` };
  // It may be a copy of one that came with its id, or another message with the same content: nobody can tell.
  if (!incoming.isNamed) return { ok: false, problem: 'no usable message id: handling it might repeat another' };
  const { madeAtMs } = incoming;
  if (madeAtMs !== undefined && limits.nowMs - madeAtMs > limits.retentionMs + CLOCK_SKEW_MS) {
    return {
      ok: false,
      isTooOld: true,
      problem: `older than the inbox remembers (${limits.retentionMs} ms): handling it might repeat it`,
    };
  }
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
    return { ok: true, payload: readerOf(payload, () => contract.schema.parse(JSON.parse(text))) };
  return { ok: false, problem: `does not fit ${expected}: ${problems.slice(0, 5).join('; ')}` };
}

/** The value that is there already goes to the first reader. Most messages have only one. */
function readerOf(first: unknown, parse: () => unknown): PayloadReader {
  let isUsed = false;
  return () => {
    const payload = isUsed ? parse() : first;
    isUsed = true;
    return payload;
  };
}

/** A schema with code in it (`refine`, `transform`) may throw, or be asynchronous: that is no fit either. */
function fit(json: unknown, { schema }: Contract): { payload?: unknown; problems: string[] } {
  try {
    const parsed = schema.safeParse(json);
    if (parsed.success) return { payload: parsed.data, problems: [] };
    return { problems: parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`) };
  } catch (error) {
    return { problems: [`its schema throws: ${textOf(error)}`] };
  }
}
