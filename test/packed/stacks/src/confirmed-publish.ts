import { Controller, Injectable } from '@nestjs/common';
import { defineMessage, OnMessage } from 'nest-dtx';
import { ConfirmedMessages, ConfirmedPublishModule } from 'nest-dtx/confirmed-publish';
import { DataSource, EntityManager } from 'typeorm';
import { z } from 'zod';
import { Effect } from './effect.entity.js';

export const priceSet = defineMessage({
  name: 'price.set',
  version: 1,
  schema: z.object({ orderId: z.string() }),
  consumers: ['stock.show'],
  gid: (message) => message.orderId,
  replicated: true,
});

@Injectable()
export class SetPrices {
  constructor(
    private readonly db: DataSource,
    private readonly messages: ConfirmedMessages,
  ) {}

  run(orderId: string): Promise<string> {
    return this.db.transaction((tx) => this.messages.publish(tx, priceSet, { orderId }));
  }
}

@Controller()
export class ShowPrice {
  @OnMessage(priceSet, { duplicates: 'redis' })
  async show(tx: EntityManager, { orderId }: { orderId: string }): Promise<void> {
    await tx.insert(Effect, { scheme: 'confirmed publish', orderId });
  }
}

export const shop = { imports: [ConfirmedPublishModule.forRoot()], providers: [SetPrices] };
export const stock = { controllers: [ShowPrice] };
