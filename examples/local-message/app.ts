// Local message table: an order and its message commit together. The mail is recorded once, however often it is delivered.
import { randomUUID } from 'node:crypto';
import { env } from 'node:process';
import { Controller, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DtxModule, defineMessage, type MessageOf, OnMessage } from 'nest-dtx';
import { LocalMessageModule, LocalMessages } from 'nest-dtx/local-message';
import { DataSource, Entity, EntityManager, PrimaryColumn } from 'typeorm';
import { z } from 'zod';

const orderPlaced = defineMessage({
  name: 'order.placed',
  version: 1,
  schema: z.object({ orderId: z.uuid() }),
  consumers: ['shop.mail'],
  gid: ({ orderId }) => orderId,
});

@Entity('purchase')
class Purchase {
  @PrimaryColumn() orderId!: string;
}

@Entity('mail')
class Mail {
  @PrimaryColumn() orderId!: string;
}

@Controller()
class Orders {
  constructor(
    private readonly db: DataSource,
    private readonly messages: LocalMessages,
  ) {}

  @Post('orders')
  place(): Promise<string> {
    return this.db.transaction(async (tx) => {
      const orderId = randomUUID();
      await tx.insert(Purchase, { orderId });
      await this.messages.append(tx, orderPlaced, { orderId });
      return orderId;
    });
  }

  @OnMessage(orderPlaced)
  async mail(tx: EntityManager, { orderId }: MessageOf<typeof orderPlaced>): Promise<void> {
    await tx.insert(Mail, { orderId });
  }
}

const mysql = { type: 'mysql' as const, url: env.DATABASE_URL, synchronize: true };
const database = TypeOrmModule.forRoot({ ...mysql, entities: [Purchase, Mail] });
const dtx = { app: 'shop', rabbitmqUrl: env.RABBITMQ_URL! };

@Module({
  imports: [database, DtxModule.forRoot(dtx), LocalMessageModule.forRoot()],
  controllers: [Orders],
})
class AppModule {}

const app = await NestFactory.create(AppModule, new FastifyAdapter());
await app.enableShutdownHooks().listen(env.PORT ?? 3000);
