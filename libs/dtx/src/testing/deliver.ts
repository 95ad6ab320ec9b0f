// Calls the handler of a message together with its inbox, in a test with a database and without a broker.
import type { INestApplicationContext } from '@nestjs/common';
import type { ConsumeMessage } from 'amqplib';
import { toProperties, typeOf } from '../core/broker/envelope.js';
import { type Contract, queueOf } from '../core/broker/message-contract.js';
import { checkedJson, payloadOf } from '../core/broker/outgoing-payload.js';
import type { Endpoint } from '../core/consumer/incoming-message.js';
import type { Database } from '../core/database/database.service.js';
import { DtxError } from '../core/errors/errors.js';
import { assertGid } from '../core/ids.js';
import { untilDatabaseReady } from './database-ready.js';
import { payloadMaxBytesOf } from './fake-options.js';
import { type MountedEndpoint, mountedEndpoints } from './mounted-endpoints.js';

/** Options of `deliver`. */
export interface DeliverOptions {
  /** Id of the message. A second delivery with the same id is a duplicate. The default is a new id. */
  readonly messageId?: string;
  /** The consumer as `<app>.<consumer>`, if this app has several for the contract. */
  readonly consumer?: string;
  /** The scheme in the message, which tables and metrics show. Default `local-message`. */
  readonly scheme?: string;
  /** Whether the broker delivers the message again, because an earlier delivery was not acknowledged. */
  readonly redelivered?: boolean;
  /** Time limit in milliseconds for the database to open, and for a dependency that is unavailable. Default 10 000. */
  readonly withinMs?: number;
}

/**
 * The result of a delivery.
 * - HANDLED: `@OnMessage` has committed, now or at an earlier delivery.
 * - REJECTED: it threw `Rejected`, and `@OnRejected` has committed.
 * - RETRYING: it failed, or `@BeforeAck` failed. The row in `dtx_inbox` is retried with backoff.
 * - PARKED: it waits for an operator, with one alert.
 * - WITHDRAWN: its sender has withdrawn it by `LocalMessages.cancel`. No code of the consumer runs.
 */
export type Delivered = 'HANDLED' | 'REJECTED' | 'RETRYING' | 'PARKED' | 'WITHDRAWN';

/**
 * Delivers a message to the consumer of this app, as the broker would: contract check, inbox row, handler, `@OnRejected`,
 * `@BeforeAck`. Needs the database of the app, and no broker. A failed delivery is retried in the background. Wait for its
 * end with `untilSettled`.
 * @throws DtxError if the message does not fit the contract, if this app has no such consumer or several, or if the
 *   consumer uses `duplicates: 'redis'`
 * @throws DtxError if the database does not open in time
 * @example
 *   const messageId = 'm1';
 *   expect(await deliver(app, orderPlaced, { orderId: 'o1' }, { messageId })).toBe('HANDLED');
 *   expect(await deliver(app, orderPlaced, { orderId: 'o1' }, { messageId })).toBe('HANDLED'); // a duplicate
 *   expect(await repository.count()).toBe(1);
 */
export async function deliver<P>(
  app: INestApplicationContext,
  contract: Contract<P>,
  message: P,
  options: DeliverOptions = {},
): Promise<Delivered> {
  const { withinMs = 10_000 } = options;
  const { json, value } = checkedJson(payloadOf(contract), contract.schema, message, payloadMaxBytesOf({}));
  const gid = assertGid(contract.gid(value));
  const { endpoint, inbox, database } = endpointOf(app, contract, options.consumer);
  await untilDatabaseReady(database, withinMs);
  const messageId = options.messageId ?? database.newId();
  const delivery = {
    message: messageOf(endpoint, { ...options, json, gid, messageId }),
    lost: AbortSignal.timeout(withinMs),
    ack: () => {},
  };
  const outcome = await inbox.take(delivery, endpoint);
  return outcome === 'HANDLED' ? handledOrRejected(database, `${messageId}.${endpoint.consumer}`) : outcome;
}

function endpointOf(
  app: INestApplicationContext,
  { name, version }: Pick<Contract, 'name' | 'version'>,
  consumer: string | undefined,
): MountedEndpoint {
  const all = mountedEndpoints(app).filter(
    ({ endpoint: { contract: one } }) => one.name === name && one.version === version,
  );
  const found = all.filter(({ endpoint }) => consumer === undefined || endpoint.consumer === consumer);
  const [first] = found;
  const about = `cannot deliver ${name} v${version}`;
  if (!first) {
    const who = consumer === undefined ? '' : ` of ${consumer}`;
    throw new DtxError(
      `${about}: this app has no mounted @OnMessage${who} for it; call app.init() first, and list its class in a module`,
    );
  }
  if (found.length > 1)
    throw new DtxError(
      `${about}: this app has several consumers; choose one with { consumer: '${first.endpoint.consumer}' }`,
    );
  const { duplicates } = first.endpoint;
  if (duplicates !== 'inbox')
    throw new DtxError(
      `${about}: ${first.endpoint.consumer} uses duplicates: '${duplicates}', and deliver needs 'inbox'`,
    );
  return first;
}

interface Message {
  readonly json: string;
  readonly gid: string;
  readonly messageId: string;
  readonly scheme?: string;
  readonly redelivered?: boolean;
}

function messageOf(
  endpoint: Endpoint,
  { json, gid, messageId, scheme = 'local-message', redelivered = false }: Message,
) {
  const { consumer, contract } = endpoint;
  const properties = toProperties({ messageId, type: typeOf(contract), gid, scheme });
  const routingKey = queueOf(consumer, contract.version);
  const fields = { consumerTag: 'deliver', deliveryTag: 1, exchange: '', routingKey, redelivered };
  return { content: Buffer.from(json), fields, properties } as unknown as ConsumeMessage;
}

/** The column `outcome` has the reason of a `Rejected`. */
async function handledOrRejected(database: Database, id: string): Promise<Delivered> {
  const rows: Array<{ outcome: string | null }> = await database.own.query(
    'SELECT outcome FROM dtx_inbox WHERE id = ?',
    [id],
  );
  return rows[0]?.outcome ? 'REJECTED' : 'HANDLED';
}
