import type { EntityManager } from 'typeorm';
import type { Contract } from '../core/broker/message-contract.js';
import { newId } from '../core/ids.js';
import type { Delay } from '../local-message/delay.js';
import { type FakeOutcome, outcomeOf } from './fake-transaction.js';

interface Recorded {
  readonly id: string;
  readonly contract: string;
  readonly version: number;
  readonly payload: unknown;
  readonly transaction: FakeOutcome | undefined;
  readonly name: string | undefined;
  /** Set until the message is sent. */
  delay: Delay | undefined;
  /** The transactions that have withdrawn or moved it. One that a fake does not run counts as committed. */
  readonly withdrawn: Array<FakeOutcome | undefined>;
  readonly moved: Array<{ by: FakeOutcome | undefined; delay: Delay }>;
}

/** A delayed message that a fake has recorded, as `append` or `reschedule` gave it last. */
export interface FakeScheduled<P> {
  readonly id: string;
  readonly name: string | undefined;
  readonly payload: P;
  readonly dueInMs: number | undefined;
  readonly dueAt: Date | undefined;
}

type Named = Pick<Contract, 'name' | 'version'>;

/** The messages of a fake, in the order of the calls. */
export class RecordedMessages {
  private all: Recorded[] = [];

  /** Records a message and returns its id. With `tx`, it counts as sent only if that transaction commits. */
  add(
    { name: contract, version }: Named,
    payload: unknown,
    tx?: EntityManager,
    later?: Delay & { name?: string },
  ): string {
    const message = { id: newId(), contract, version, payload, transaction: tx && outcomeOf(tx), name: later?.name };
    this.all.push({ ...message, delay: later, withdrawn: [], moved: [] });
    return message.id;
  }

  of<P>(contract: Contract<P>): P[] {
    const found = this.ofContract(contract).filter((one) => one.delay === undefined && isCommitted(one.transaction));
    return found.map(({ payload }) => payload as P);
  }

  /** The delayed messages of committed transactions, without the withdrawn ones. */
  scheduled<P>(contract: Contract<P>): FakeScheduled<P>[] {
    return this.ofContract(contract)
      .filter((one) => one.delay !== undefined && isCommitted(one.transaction) && !one.withdrawn.some(isCommitted))
      .map((one) => {
        const { dueInMs, dueAt } = one.moved.filter(({ by }) => isCommitted(by)).at(-1)?.delay ?? one.delay!;
        return { id: one.id, name: one.name, payload: one.payload as P, dueInMs, dueAt };
      });
  }

  /** The newest delayed message of a name, or the one of an id, as an open transaction sees it. */
  find(contract: Named, { name, id }: { name?: string; id?: string }): Recorded | undefined {
    return this.ofContract(contract).findLast(
      (one) => (id === undefined ? one.name === name : one.id === id) && one.transaction?.state !== 'rolled back',
    );
  }

  clear(): void {
    this.all = [];
  }

  private ofContract({ name, version }: Named): Recorded[] {
    return this.all.filter((one) => one.contract === name && one.version === version);
  }
}

/** The end of a transaction that no fake runs is not known, so it counts as committed. */
const isCommitted = (transaction: FakeOutcome | undefined) =>
  transaction === undefined || transaction.state === 'committed';

/** Whether a transaction has withdrawn a message, also one that is still open. */
export const isWithdrawn = ({ withdrawn }: Recorded): boolean => withdrawn.some((by) => by?.state !== 'rolled back');
