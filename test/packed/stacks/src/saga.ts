import { Injectable } from '@nestjs/common';
import { Do, defineSaga, defineStep, SagaModule, SagaStep, Sagas } from 'nest-dtx/saga';
import { DataSource, EntityManager } from 'typeorm';
import { z } from 'zod';
import { Effect } from './effect.entity.js';

const args = z.object({ orderId: z.string() });
export const ship = defineStep({ name: 'stock.ship', version: 1, args });
export const shipping = defineSaga({
  name: 'shop.shipping',
  version: 1,
  input: args,
  deadlineMs: 60_000,
  steps: ({ pivot }) => [pivot(ship, ({ input }) => input)],
});

@Injectable()
export class ShipOrders {
  constructor(
    private readonly db: DataSource,
    private readonly sagas: Sagas,
  ) {}

  run(orderId: string): Promise<string> {
    return this.db.transaction((tx) => this.sagas.start(tx, shipping, { orderId }, { gid: orderId }));
  }
}

@SagaStep(ship)
export class Ship {
  @Do(ship)
  async send(tx: EntityManager, { orderId }: { orderId: string }): Promise<void> {
    await tx.insert(Effect, { scheme: 'saga', orderId });
  }
}

export const shop = { imports: [SagaModule.forRoot({ sagas: [shipping] })], providers: [ShipOrders] };
export const stock = { imports: [SagaModule.forRoot()], providers: [Ship] };
