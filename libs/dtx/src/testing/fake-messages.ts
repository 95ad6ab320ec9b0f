// Fakes of the half messages and of the confirmed publish. They check contract, payload and transaction with the code of
// the services, keep the messages in memory, and reach neither a database nor a broker.
import type { EntityManager } from 'typeorm';
import { type ConfirmedMessages } from '../confirmed-publish/index.js';
import { messageToPublish } from '../confirmed-publish/publish-before-commit.js';
import type { Contract } from '../core/broker/message-contract.js';
import { type HalfMessages } from '../half-message/index.js';
import { messageToPrepare } from '../half-message/send-half-message.js';
import { type FakeOptions, type PublicOf, payloadMaxBytesOf } from './fake-options.js';
import { inFakeTransaction, requireFakeTransaction } from './fake-transaction.js';
import { RecordedMessages } from './recorded-messages.js';

/**
 * Fake of `HalfMessages`. The work gets a fake transaction.
 * @example
 *   { provide: HalfMessages, useClass: FakeHalfMessages }
 */
export class FakeHalfMessages implements PublicOf<HalfMessages> {
  private readonly messages = new RecordedMessages();
  private readonly byGid = new Map<string, unknown>();

  constructor(private readonly options: FakeOptions = {}) {}

  /** Runs the work. The message counts as sent if the work does not throw. @throws as `HalfMessages.send` */
  async send<P, T>(contract: Contract<P>, payload: P, work: (tx: EntityManager) => Promise<T>): Promise<T> {
    const { value, gid } = messageToPrepare(contract, payload, payloadMaxBytesOf(this.options));
    const result = await inFakeTransaction(this.options, work);
    this.messages.add(contract, value);
    const key = keyOf(contract, gid);
    if (!this.byGid.has(key)) this.byGid.set(key, value);
    return result;
  }

  /** The first payload committed under a gid, or null. */
  async committed<P>(contract: Contract<P>, gid: string): Promise<P | null> {
    return (this.byGid.get(keyOf(contract, gid)) as P | undefined) ?? null;
  }

  /** The messages of a contract whose work has committed, oldest first. */
  sent<P>(contract: Contract<P>): P[] {
    return this.messages.of(contract);
  }

  /** Forgets all messages. */
  clear(): void {
    this.messages.clear();
    this.byGid.clear();
  }
}

/**
 * Fake of `ConfirmedMessages`. As there, a message is published at once, even if its transaction then rolls back.
 * @example
 *   { provide: ConfirmedMessages, useClass: FakeConfirmedMessages }
 */
export class FakeConfirmedMessages implements PublicOf<ConfirmedMessages> {
  private readonly messages = new RecordedMessages();

  constructor(private readonly options: FakeOptions = {}) {}

  /** @throws TransactionRequired, DtxError as `ConfirmedMessages.publish` */
  async publish<P>(tx: EntityManager, contract: Contract<P>, payload: P): Promise<string> {
    const { value } = messageToPublish(contract, payload, payloadMaxBytesOf(this.options));
    requireFakeTransaction(tx, 'ConfirmedMessages.publish');
    return this.messages.add(contract, value);
  }

  /** The published messages of a contract, oldest first. */
  sent<P>(contract: Contract<P>): P[] {
    return this.messages.of(contract);
  }

  /** Forgets all messages. */
  clear(): void {
    this.messages.clear();
  }
}

const keyOf = ({ name, version }: Pick<Contract, 'name' | 'version'>, gid: string) => `${name}.v${version} ${gid}`;
