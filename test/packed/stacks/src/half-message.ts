import { Controller, Injectable } from '@nestjs/common';
import { defineMessage, OnMessage } from 'nest-dtx';
import { HalfMessageModule, HalfMessages } from 'nest-dtx/half-message';
import { EntityManager } from 'typeorm';
import { z } from 'zod';
import { Effect } from './effect.entity.js';

export const flashSold = defineMessage({
  name: 'flash.sold',
  version: 1,
  schema: z.object({ orderId: z.string() }),
  consumers: ['stock.sell'],
  gid: (message) => message.orderId,
  replicated: true,
});

@Injectable()
export class SellInFlashes {
  constructor(private readonly messages: HalfMessages) {}

  run(orderId: string): Promise<unknown> {
    return this.messages.send(flashSold, { orderId }, (tx) => tx.insert(Effect, { scheme: 'sold', orderId }));
  }
}

@Controller()
export class SellStock {
  @OnMessage(flashSold)
  async sell(tx: EntityManager, { orderId }: { orderId: string }): Promise<void> {
    await tx.insert(Effect, { scheme: 'half message', orderId });
  }
}

export const shop = { imports: [HalfMessageModule.forRoot()], providers: [SellInFlashes] };
export const stock = { controllers: [SellStock] };
