import type { Options } from 'amqplib';
import { QueueNames } from './queue-prefix.js';

/**
 * The data beside the payload, in AMQP properties: messageId, type (contract name and version), gid as the
 * correlationId, the receipt queue as replyTo. Headers carry the W3C traceparent, the scheme (`dtx-scheme`) and the
 * creation time (`dtx-made-at`). docs/wire.md describes the format.
 */
export interface Envelope {
  readonly messageId: string;
  readonly type: string;
  readonly gid: string;
  readonly scheme: string;
  readonly replyTo?: string | undefined;
  readonly traceparent?: string | undefined;
  /**
   * Creation time in milliseconds since the epoch, by the database clock of the sender. For a message with a delay it is
   * the due time. Every repetition carries the same value. The receiver derives the age from it, because a message id may carry no time.
   */
  readonly madeAtMs?: number | undefined;
}

type Headers = Record<string, string>;

export function typeOf(contract: { name: string; version: number }): string {
  return `${contract.name}.v${contract.version}`;
}

/** @param names translates the queue of `replyTo`. The default is that of an app without options, with quorum queues */
export function toProperties(envelope: Envelope, names = new QueueNames()): Options.Publish & { headers: Headers } {
  // Not spread together: this runs for each message.
  const headers: Headers = { 'dtx-scheme': envelope.scheme };
  if (envelope.traceparent) headers.traceparent = envelope.traceparent;
  // A string, because client libraries decode large AMQP numbers differently.
  if (envelope.madeAtMs !== undefined) headers['dtx-made-at'] = String(Math.round(envelope.madeAtMs));
  return {
    messageId: envelope.messageId,
    type: envelope.type,
    correlationId: envelope.gid,
    contentType: 'application/json',
    persistent: true,
    headers,
    ...(envelope.replyTo ? { replyTo: names.onWire(envelope.replyTo) } : {}),
  };
}

interface Properties {
  messageId?: unknown;
  type?: unknown;
  correlationId?: unknown;
  replyTo?: unknown;
  headers?: Record<string, unknown> | undefined;
}

/** Reads an envelope. A missing or malformed field is undefined, because any client may write to a queue. */
export function fromProperties(properties: Properties): Partial<Envelope> {
  const headers = properties.headers ?? {};
  return {
    messageId: text(properties.messageId, 64),
    type: text(properties.type, 128),
    gid: text(properties.correlationId, 64),
    replyTo: text(properties.replyTo, 128),
    scheme: text(headers['dtx-scheme'], 32),
    traceparent: text(headers.traceparent, 55),
    madeAtMs: milliseconds(headers['dtx-made-at']),
  };
}

function text(value: unknown, lengthMax: number): string | undefined {
  return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value) && value.length <= lengthMax ? value : undefined;
}

function milliseconds(value: unknown): number | undefined {
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}
