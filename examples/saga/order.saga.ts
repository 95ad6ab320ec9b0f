// Saga: an order takes goods, waits up to three days for a person's approval, and ships. Anything else gives the goods back.
import { Rejected } from 'nest-dtx';
import { Do, defineSaga, defineSignal, defineStep, SagaStep, type SagaStepContext, Undo } from 'nest-dtx/saga';
import { Column, Entity, EntityManager, MoreThan, PrimaryColumn } from 'typeorm';
import { z } from 'zod';

const args = z.object({ orderId: z.uuid() });
type Args = z.output<typeof args>;
const takeGoods = defineStep({ name: 'shop.take-goods', version: 1, args });
const ship = defineStep({ name: 'shop.ship', version: 1, args });
export const approval = defineSignal({ name: 'approval', payload: z.object({ isGiven: z.boolean() }) });
export const orderSaga = defineSaga({
  name: 'shop.order',
  version: 1,
  input: args,
  deadlineMs: 60_000,
  steps: ({ compensable, waitFor, pivot }) => [
    compensable(takeGoods, (s) => s.input),
    waitFor(approval, { withinMs: 3 * 86_400_000, refusal: ({ isGiven }) => (isGiven ? null : 'NOT_APPROVED') }),
    pivot(ship, (s) => s.input),
  ],
});

@Entity('goods')
export class Goods {
  @PrimaryColumn() name!: string;
  @Column() available!: number;
}

@Entity('purchase')
export class Purchase {
  @PrimaryColumn() orderId!: string;
  @Column() status!: string;
}

@SagaStep(takeGoods)
export class TakeGoods {
  @Do(takeGoods) async take(tx: EntityManager, { orderId }: Args): Promise<void> {
    const { affected } = await tx.decrement(Goods, { name: 'book', available: MoreThan(0) }, 'available', 1);
    if (affected !== 1) throw new Rejected('SOLD_OUT');
    await tx.insert(Purchase, { orderId, status: 'WAITING' });
  }

  @Undo(takeGoods) async putBack(tx: EntityManager, { orderId }: Args, { reason }: SagaStepContext): Promise<void> {
    await tx.increment(Goods, { name: 'book' }, 'available', 1);
    await tx.update(Purchase, { orderId }, { status: reason! });
  }
}

@SagaStep(ship)
export class Ship {
  @Do(ship) async send(tx: EntityManager, { orderId }: Args): Promise<void> {
    await tx.update(Purchase, { orderId }, { status: 'SHIPPED' });
  }
}
