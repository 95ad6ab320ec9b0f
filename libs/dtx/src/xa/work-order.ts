// For step 2 of 5 - work: statements of the work that wait for a packet. They are in no database yet, so nothing is to be
// recovered if the process dies.
import type { StatementOrder } from '../core/database/transaction-guard-options.js';

/** The statements of one database in the order of the work. */
export interface PlaceInOrder extends StatementOrder {
  readonly name: string;
  /** Sends the statements of the work that wait at this database. Set with its connection. */
  send(): Promise<void>;
}

/**
 * The order in which the work locks rows, over all its databases. Statements that wait keep it, since no server sees a
 * deadlock across two servers. The work may avoid one by its order alone.
 */
export class WorkOrder {
  /** The databases at which statements wait, in the order of the work. */
  private waiting: PlaceInOrder[] = [];
  private sending: Promise<void> | undefined;

  place(name: string): PlaceInOrder {
    const place: PlaceInOrder = {
      name,
      send: async () => {},
      before: (how) => this.before(place, how),
    };
    return place;
  }

  /** Removes and returns the databases at which statements wait, in the order of the work. */
  take(): PlaceInOrder[] {
    return this.waiting.splice(0);
  }

  /** Sends all waiting statements. @throws the error of the first one that fails. Those behind it are not sent. */
  sendAll(): Promise<void> {
    this.sending ??= this.sendInTurn().finally(() => {
      this.sending = undefined;
    });
    return this.sending;
  }

  /** Resolves when a statement at this place is in turn. Undefined if it is in turn now. */
  private before(place: PlaceInOrder, how: 'waits' | 'sent'): Promise<void> | undefined {
    if (this.sending) return this.sending.then(() => this.before(place, how));
    // guard: xa.work-order
    if (!this.isInTurn(place, how)) return this.sendAll().then(() => this.note(place, how));
    this.note(place, how);
    return undefined;
  }

  /** One that waits may join the last ones. One that is sent takes those of its own database with it. */
  private isInTurn(place: PlaceInOrder, how: 'waits' | 'sent'): boolean {
    if (how === 'waits') return !this.waiting.includes(place) || this.waiting.at(-1) === place;
    return this.waiting.every((one) => one === place);
  }

  private note(place: PlaceInOrder, how: 'waits' | 'sent'): void {
    this.waiting = this.waiting.filter((one) => one !== place);
    if (how === 'waits') this.waiting.push(place);
  }

  private async sendInTurn(): Promise<void> {
    for (const place of this.take()) await place.send();
  }
}
