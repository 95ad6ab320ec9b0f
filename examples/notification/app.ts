// Notification: a signed webhook tells each payment to the merchant, until the merchant accepts it.
import { randomUUID } from 'node:crypto';
import { env } from 'node:process';
import { Controller, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { BeforeAck, DtxModule, defineMessage, type MessageOf, OnMessage } from 'nest-dtx';
import { LocalMessageModule, LocalMessages } from 'nest-dtx/local-message';
import { Notifications, NotifyModule } from 'nest-dtx/notify';
import { DataSource, Entity, EntityManager, PrimaryColumn } from 'typeorm';
import { z } from 'zod';

const paymentRequested = defineMessage({
  name: 'payment.requested',
  version: 1,
  schema: z.object({ paymentId: z.uuid(), at: z.coerce.date() }),
  consumers: ['shop.capture'],
  gid: ({ paymentId }) => paymentId,
});
type PaymentRequested = MessageOf<typeof paymentRequested>;

@Entity('payment')
class Payment {
  @PrimaryColumn() paymentId!: string;
}

@Controller()
class Payments {
  constructor(
    private readonly db: DataSource,
    private readonly messages: LocalMessages,
    private readonly notifications: Notifications,
  ) {}

  @Post('payments')
  request(): Promise<string> {
    const request = { paymentId: randomUUID(), at: new Date() };
    return this.db.transaction((tx) => this.messages.append(tx, paymentRequested, request));
  }

  @OnMessage(paymentRequested)
  async capture(tx: EntityManager, { paymentId }: PaymentRequested): Promise<void> {
    await tx.insert(Payment, { paymentId });
  }

  @BeforeAck(paymentRequested)
  async tell({ paymentId, at }: PaymentRequested): Promise<void> {
    const event = { id: paymentId, gid: paymentId, type: 'payment.captured', at, data: { paymentId } };
    await this.notifications.publish(event);
  }
}

const mysql = { type: 'mysql' as const, url: env.DATABASE_URL, synchronize: true };
const database = TypeOrmModule.forRoot({ ...mysql, entities: [Payment] });
const dtx = { app: 'shop', rabbitmqUrl: env.RABBITMQ_URL! };
const merchant = { defaultTarget: env.MERCHANT_URL, allow: ['127.0.0.1'] };
const notify = NotifyModule.forService({ service: 'shop', secrets: [env.NOTIFY_SECRET!], ...merchant });

@Module({
  imports: [database, DtxModule.forRoot(dtx), LocalMessageModule.forRoot(), notify],
  controllers: [Payments],
})
class AppModule {}

const app = await NestFactory.create(AppModule, new FastifyAdapter());
await app.enableShutdownHooks().listen(env.PORT ?? 3000);
