import { Controller, Injectable } from '@nestjs/common';
import { defineMessage, OnMessage } from 'nest-dtx';
import { LocalMessageModule, LocalMessages } from 'nest-dtx/local-message';
import { DataSource, EntityManager } from 'typeorm';
import { z } from 'zod';
import { Effect } from './effect.entity.js';

export const orderPlaced = defineMessage({
  name: 'order.placed',
  version: 1,
  schema: z.object({ orderId: z.string() }),
  consumers: ['stock.take'],
  gid: (message) => message.orderId,
});

@Injectable()
export class PlaceOrders {
  constructor(
    private readonly db: DataSource,
    private readonly messages: LocalMessages,
  ) {}

  run(orderId: string): Promise<string> {
    return this.db.transaction((tx) => this.messages.append(tx, orderPlaced, { orderId }));
  }
}

@Controller()
export class TakeStock {
  @OnMessage(orderPlaced)
  async take(tx: EntityManager, { orderId }: { orderId: string }): Promise<void> {
    await tx.insert(Effect, { scheme: 'local message', orderId });
  }
}

export const shop = { imports: [LocalMessageModule.forRoot()], providers: [PlaceOrders] };
export const stock = { controllers: [TakeStock] };
