// Confirmed publish: the broker confirms the new price before its transaction commits. A view keeps the newest version.
import { env } from 'node:process';
import { Controller, Module, Param, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DtxModule, defineMessage, type MessageOf, OnMessage } from 'nest-dtx';
import { ConfirmedMessages, ConfirmedPublishModule } from 'nest-dtx/confirmed-publish';
import { Column, DataSource, Entity, EntityManager, LessThan, PrimaryColumn } from 'typeorm';
import { z } from 'zod';

const priceChanged = defineMessage({
  name: 'price.changed',
  version: 1,
  schema: z.object({ sku: z.string(), cents: z.int(), version: z.int() }),
  consumers: ['shop.price-list'],
  gid: ({ sku, version }) => `${sku}:${version}`,
  replicated: true,
});

@Entity('price')
class Price {
  @PrimaryColumn() sku!: string;
  @Column() cents!: number;
  @Column() version!: number;
}

@Entity('listed_price')
class ListedPrice extends Price {}

@Controller()
class Prices {
  constructor(
    private readonly db: DataSource,
    private readonly messages: ConfirmedMessages,
  ) {}

  @Post('prices/:sku/:cents')
  change(@Param('sku') sku: string, @Param('cents') cents: string): Promise<string> {
    return this.db.transaction(async (tx) => {
      const old = await tx.findOne(Price, { where: { sku }, lock: { mode: 'pessimistic_write' } });
      const price = { sku, cents: Number(cents), version: (old?.version ?? 0) + 1 };
      await tx.save(Price, price);
      return this.messages.publish(tx, priceChanged, price);
    });
  }

  @OnMessage(priceChanged)
  async list(tx: EntityManager, price: MessageOf<typeof priceChanged>): Promise<void> {
    const { sku } = price;
    // Two prices may be handled at once. The second INSERT waits for the first one's commit, so the UPDATE sees its row.
    const first = { ...price, version: 0 };
    await tx.createQueryBuilder().insert().into(ListedPrice).values(first).orIgnore().execute();
    await tx.update(ListedPrice, { sku, version: LessThan(price.version) }, price);
  }
}

const mysql = { type: 'mysql' as const, url: env.DATABASE_URL, synchronize: true };
const database = TypeOrmModule.forRoot({ ...mysql, entities: [Price, ListedPrice] });
const dtx = { app: 'shop', rabbitmqUrl: env.RABBITMQ_URL! };

@Module({
  imports: [database, DtxModule.forRoot(dtx), ConfirmedPublishModule.forRoot()],
  controllers: [Prices],
})
class AppModule {}

const app = await NestFactory.create(AppModule, new FastifyAdapter());
await app.enableShutdownHooks().listen(env.PORT ?? 3000);
