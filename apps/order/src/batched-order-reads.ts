import { Order } from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { DataSource, In } from 'typeorm';

type Found = Promise<Order | null>;

/**
 * Reads orders for long polls. All readers of this process share one statement at a time, so any number of them needs one
 * connection. A read begins after its call, so a reader sees all that was committed before.
 */
@Injectable()
export class OrderReads {
  private readonly wanted = new Map<string, Array<(found: Found) => void>>();
  private isReading = false;

  constructor(private readonly db: DataSource) {}

  /** The order, or null. */
  find(orderId: string): Found {
    return new Promise((resolve) => {
      this.wanted.set(orderId, [...(this.wanted.get(orderId) ?? []), resolve]);
      this.begin();
    });
  }

  private begin(): void {
    if (this.isReading || this.wanted.size === 0) return;
    this.isReading = true;
    setImmediate(() => void this.read());
  }

  private async read(): Promise<void> {
    const batch = [...this.wanted];
    this.wanted.clear();
    const ids = batch.map(([orderId]) => orderId);
    const found = this.db.manager
      .getRepository(Order)
      .findBy({ orderId: In(ids) })
      .then((orders) => new Map(orders.map((order) => [order.orderId, order])));
    for (const [orderId, readers] of batch)
      for (const resolve of readers) resolve(found.then((orders) => orders.get(orderId) ?? null));
    await found.catch(() => {}); // each reader gets the error
    this.isReading = false;
    this.begin();
  }
}
