// Half message: the broker has the message before the sale commits, and its consumers get it only if the sale commits.
import { randomUUID } from 'node:crypto';
import { env } from 'node:process';
import { Controller, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DtxModule, defineMessage, type MessageOf, OnMessage } from 'nest-dtx';
import { HalfMessageModule, HalfMessages } from 'nest-dtx/half-message';
import { Entity, EntityManager, PrimaryColumn } from 'typeorm';
import { z } from 'zod';

const flashSold = defineMessage({
  name: 'flash.sold',
  version: 1,
  schema: z.object({ saleId: z.uuid() }),
  consumers: ['shop.parcel'],
  gid: ({ saleId }) => saleId,
  replicated: true,
});

@Entity('sale')
class Sale {
  @PrimaryColumn() saleId!: string;
}

@Entity('parcel')
class Parcel {
  @PrimaryColumn() saleId!: string;
}

@Controller()
class Sales {
  constructor(private readonly messages: HalfMessages) {}

  @Post('sales')
  async sell(): Promise<string> {
    const saleId = randomUUID();
    await this.messages.send(flashSold, { saleId }, (tx) => tx.insert(Sale, { saleId }));
    return saleId;
  }

  @OnMessage(flashSold)
  async pack(tx: EntityManager, { saleId }: MessageOf<typeof flashSold>): Promise<void> {
    await tx.insert(Parcel, { saleId });
  }
}

const mysql = { type: 'mysql' as const, url: env.DATABASE_URL, synchronize: true };
const database = TypeOrmModule.forRoot({ ...mysql, entities: [Sale, Parcel] });
const dtx = { app: 'shop', rabbitmqUrl: env.RABBITMQ_URL! };

@Module({
  imports: [database, DtxModule.forRoot(dtx), HalfMessageModule.forRoot()],
  controllers: [Sales],
})
class AppModule {}

const app = await NestFactory.create(AppModule, new FastifyAdapter());
await app.enableShutdownHooks().listen(env.PORT ?? 3000);
