import type { EntityManager } from 'typeorm';
import type { Contract } from '../core/broker/message-contract.js';
import { newId } from '../core/ids.js';
import { type FakeOutcome, outcomeOf } from './fake-transaction.js';

interface Recorded {
  readonly name: string;
  readonly version: number;
  readonly payload: unknown;
  readonly transaction: FakeOutcome | undefined;
}

/** The messages of a fake, in the order of the calls. */
export class RecordedMessages {
  private all: Recorded[] = [];

  /** Records a message and returns its id. With `tx`, it counts as sent only if that transaction commits. */
  add(contract: Pick<Contract, 'name' | 'version'>, payload: unknown, tx?: EntityManager): string {
    const { name, version } = contract;
    this.all.push({ name, version, payload, transaction: tx && outcomeOf(tx) });
    return newId();
  }

  of<P>({ name, version }: Contract<P>): P[] {
    const found = this.all.filter((one) => one.name === name && one.version === version && isSent(one));
    return found.map(({ payload }) => payload as P);
  }

  clear(): void {
    this.all = [];
  }
}

/** The end of a transaction that no fake runs is not known, so its messages count as sent. */
const isSent = ({ transaction }: Recorded) => transaction === undefined || transaction.state === 'committed';
