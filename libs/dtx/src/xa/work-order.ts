// For step 2 of 5 - work: statements of the work that wait for a packet. They are in no database yet, so nothing is to be
// recovered if the process dies.
import type { HeldStatements } from '../core/database/held-statements.js';
import type { StatementOrder } from '../core/database/transaction-guard-options.js';
import { DtxError, textOf } from '../core/errors/errors.js';

/** A statement that waited has failed, so the one before which it was to be sent was not sent. */
export class WaitingFailed extends DtxError {
  constructor(
    database: string,
    readonly reason: unknown,
  ) {
    super(`statement not sent: an earlier one that waited in database ${database} has failed: ${textOf(reason)}`);
  }
}

/** The error to report for a transaction: that of the statement that waited, not that of the call which has sent it. */
export const reasonOf = (error: unknown): unknown => (error instanceof WaitingFailed ? error.reason : error);

interface Connected {
  readonly held: HeldStatements;
  /** Sends the statements of the work that wait at this database. */
  readonly send: () => Promise<void>;
}

/** The statements of one database in the order of the work. */
export class PlaceInOrder implements StatementOrder {
  /** The number of the first statement that waits, over all databases. */
  since = 0;
  private connected: Connected | undefined;

  constructor(
    readonly name: string,
    private readonly order: WorkOrder,
  ) {}

  connect(connected: Connected): void {
    this.connected = connected;
  }

  /** Whether statements of the work wait here, for a packet or for its answer. */
  get isWaiting(): boolean {
    return this.connected?.held.hasOpenUsers ?? false;
  }

  async send(): Promise<void> {
    await this.connected?.send();
  }

  before(how: 'waits' | 'sent'): Promise<void> | undefined {
    return this.order.before(this, how);
  }

  waits(): void {
    this.since = this.order.nextNumber();
  }

  sendAll(): Promise<void> {
    return this.order.sendAll();
  }
}

/**
 * The order in which the work locks rows, over all its databases. Statements that wait keep it, since no server sees a
 * deadlock across two servers. The work may avoid one by its order alone.
 */
export class WorkOrder {
  private readonly places: PlaceInOrder[] = [];
  private numbers = 0;
  private sending: Promise<void> | undefined;

  place(name: string): PlaceInOrder {
    const place = new PlaceInOrder(name, this);
    this.places.push(place);
    return place;
  }

  nextNumber(): number {
    return ++this.numbers;
  }

  /** The databases at which statements wait, in the order of the work. */
  get waiting(): PlaceInOrder[] {
    return this.places.filter(({ isWaiting }) => isWaiting).sort((one, other) => one.since - other.since);
  }

  /** Sends all waiting statements. Those behind one that fails are not sent. @throws WaitingFailed */
  sendAll(): Promise<void> {
    this.sending ??= this.sendInTurn().finally(() => {
      this.sending = undefined;
    });
    return this.sending;
  }

  /** Resolves when nothing is being sent. */
  async settled(): Promise<void> {
    while (this.sending) await this.sending.catch(() => {});
  }

  /** Resolves when a statement at this place is in turn. Undefined if it is in turn now. @throws WaitingFailed */
  before(place: PlaceInOrder, how: 'waits' | 'sent'): Promise<void> | undefined {
    if (this.sending) return this.sending.then(() => this.before(place, how));
    // guard: xa.work-order
    if (this.isBehindOthers(place, how)) return this.sendAll();
    return undefined;
  }

  /** One that waits may join the last ones. One that is sent takes those of its own database with it. */
  private isBehindOthers(place: PlaceInOrder, how: 'waits' | 'sent'): boolean {
    const isBehind = (one: PlaceInOrder) => how === 'sent' || (place.isWaiting && one.since > place.since);
    return this.places.some((one) => one !== place && one.isWaiting && isBehind(one));
  }

  private async sendInTurn(): Promise<void> {
    for (const place of this.waiting)
      await place.send().catch((error) => {
        throw new WaitingFailed(place.name, error);
      });
  }
}
