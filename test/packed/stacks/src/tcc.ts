import { Injectable } from '@nestjs/common';
import { defineParticipant, Tcc, TccCancel, TccConfirm, TccModule, TccParticipant, TccTry } from 'nest-dtx/tcc';
import { EntityManager } from 'typeorm';
import { z } from 'zod';
import { Effect } from './effect.entity.js';

export const reserve = defineParticipant({
  name: 'stock.reserve',
  version: 1,
  args: z.object({ orderId: z.string() }),
});

@Injectable()
export class CheckOut {
  constructor(private readonly tcc: Tcc) {}

  async run(orderId: string): Promise<void> {
    const outcome = await this.tcc.run({ gid: orderId }, (t) => t.call(reserve, { orderId }));
    if (outcome.status !== 'CONFIRMED') throw new Error(`${outcome.status}: ${outcome.reason}`);
  }
}

@TccParticipant(reserve)
export class ReserveStock {
  @TccTry()
  async try(tx: EntityManager, { orderId }: { orderId: string }): Promise<void> {
    await tx.insert(Effect, { scheme: 'reserved', orderId });
  }

  @TccConfirm()
  async confirm(tx: EntityManager, { orderId }: { orderId: string }): Promise<void> {
    await tx.insert(Effect, { scheme: 'TCC', orderId });
  }

  @TccCancel()
  async cancel(tx: EntityManager, { orderId }: { orderId: string }): Promise<void> {
    await tx.delete(Effect, { scheme: 'reserved', orderId });
  }
}

export const shop = { imports: [TccModule.forRoot()], providers: [CheckOut] };
export const stock = { imports: [TccModule.forRoot()], providers: [ReserveStock] };
