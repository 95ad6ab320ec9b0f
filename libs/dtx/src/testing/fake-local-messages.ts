// The fake of the local message table. It checks contract, payload, delay and transaction with the code of the service,
// keeps the messages in memory, and reaches neither a database nor a broker. It has no clock.
import type { EntityManager } from 'typeorm';
import type { Contract } from '../core/broker/message-contract.js';
import { checkedName, checkedWhich, dueTimeOf } from '../local-message/delay.js';
import {
  type CancelAnswer,
  type Delay,
  type DelayOptions,
  type LocalMessages,
  NameTaken,
  type WhichMessage,
} from '../local-message/index.js';
import { localMessageOptions } from '../local-message/options.js';
import { messageToAppend } from '../local-message/outbox.js';
import { type FakeOptions, type PublicOf, payloadMaxBytesOf } from './fake-options.js';
import { outcomeOf, requireFakeTransaction } from './fake-transaction.js';
import { type FakeScheduled, isWithdrawn, RecordedMessages } from './recorded-messages.js';

const { delayMaxMs } = localMessageOptions.parse({});

/**
 * Fake of `LocalMessages`.
 * @example
 *   { provide: LocalMessages, useClass: FakeLocalMessages }
 */
export class FakeLocalMessages implements PublicOf<LocalMessages> {
  private readonly messages = new RecordedMessages();

  constructor(private readonly options: FakeOptions = {}) {}

  /** @throws TransactionRequired, NameTaken, DtxError as `LocalMessages.append` */
  async append<P>(tx: EntityManager, contract: Contract<P>, payload: P, delay?: DelayOptions): Promise<string> {
    const { value } = messageToAppend(contract, payload, payloadMaxBytesOf(this.options), delay);
    if (delay) this.checkDelay(contract, delay);
    requireFakeTransaction(tx, 'LocalMessages.append');
    if (delay?.name !== undefined) this.takeName(tx, contract, delay.name, delay.replace === true);
    return this.messages.add(contract, value, tx, delay);
  }

  /** A message that `makeDue` has sent counts as handled. @throws as `LocalMessages.cancel` */
  async cancel<P>(tx: EntityManager, contract: Contract<P>, which: WhichMessage): Promise<CancelAnswer> {
    const checked = checkedWhich(which, contract);
    requireFakeTransaction(tx, 'LocalMessages.cancel');
    const found = this.messages.find(contract, checked);
    if (!found) return 'NOT_FOUND';
    if (found.delay === undefined) return 'HANDLED';
    found.withdrawn.push(outcomeOf(tx));
    return 'CANCELLED';
  }

  /** @throws as `LocalMessages.reschedule` */
  async reschedule<P>(tx: EntityManager, contract: Contract<P>, which: WhichMessage, delay: Delay): Promise<boolean> {
    const checked = checkedWhich(which, contract);
    this.checkDelay(contract, delay);
    requireFakeTransaction(tx, 'LocalMessages.reschedule');
    const found = this.messages.find(contract, checked);
    if (!found || found.delay === undefined || isWithdrawn(found)) return false;
    found.moved.push({ by: outcomeOf(tx), delay });
    return true;
  }

  /**
   * The messages of a contract, as their consumers see them, oldest first, without delayed ones. A message of a
   * `FakeDataSource` transaction counts only after the commit. The end of any other transaction is not known, so its messages
   * count at once.
   */
  sent<P>(contract: Contract<P>): P[] {
    return this.messages.of(contract);
  }

  /** The delayed messages of a contract that are neither withdrawn nor sent, oldest first. */
  scheduled<P>(contract: Contract<P>): FakeScheduled<P>[] {
    return this.messages.scheduled(contract);
  }

  /** Sends a delayed message, as its due time would. Returns false if there is none, or it is withdrawn. */
  makeDue<P>(contract: Contract<P>, which: WhichMessage): boolean {
    const found = this.messages.find(contract, which);
    if (!found || found.delay === undefined || isWithdrawn(found)) return false;
    found.delay = undefined;
    return true;
  }

  /** Forgets all messages. */
  clear(): void {
    this.messages.clear();
  }

  private checkDelay({ name, version }: Pick<Contract, 'name' | 'version'>, delay: DelayOptions): void {
    dueTimeOf(delay, `cannot append ${name} v${version}`, { delayMaxMs, nowMs: Date.now() });
    if (delay.name !== undefined) checkedName(delay.name, { name });
  }

  private takeName(tx: EntityManager, contract: Pick<Contract, 'name' | 'version'>, name: string, replace: boolean) {
    const there = this.messages.find(contract, { name });
    if (!there || there.delay === undefined || isWithdrawn(there)) return;
    if (!replace) throw new NameTaken(contract.name, name, 'SCHEDULED');
    there.withdrawn.push(outcomeOf(tx));
  }
}
