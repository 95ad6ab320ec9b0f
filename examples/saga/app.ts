// Saga: the app that starts it. A person approves, refuses or cancels by a call.
import { randomUUID } from 'node:crypto';
import { env } from 'node:process';
import { Controller, Module, Param, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DtxModule } from 'nest-dtx';
import { SagaModule, Sagas } from 'nest-dtx/saga';
import { DataSource } from 'typeorm';
import { approval, Goods, orderSaga, Purchase, Ship, TakeGoods } from './order.saga.js';

@Controller('orders')
class Orders {
  constructor(
    private readonly db: DataSource,
    private readonly sagas: Sagas,
  ) {}

  @Post() place(): Promise<string> {
    const orderId = randomUUID();
    return this.db.transaction((tx) => this.sagas.start(tx, orderSaga, { orderId }, { gid: orderId }));
  }

  @Post(':id/approval/:answer') approve(@Param('id') id: string, @Param('answer') answer: string): Promise<string> {
    const payload = { isGiven: answer === 'yes' };
    return this.db.transaction((tx) => this.sagas.signal(tx, id, approval, payload, { id: answer }));
  }

  @Post(':id/cancel') async cancel(@Param('id') id: string): Promise<string> {
    return (await this.db.transaction((tx) => this.sagas.cancel(tx, id, 'CUSTOMER'))) ?? 'UNKNOWN';
  }
}

const mysql = { type: 'mysql' as const, url: env.DATABASE_URL, synchronize: true };
const database = TypeOrmModule.forRoot({ ...mysql, entities: [Goods, Purchase] });
const dtx = { app: 'shop', rabbitmqUrl: env.RABBITMQ_URL! };

@Module({
  imports: [database, DtxModule.forRoot(dtx), SagaModule.forRoot({ sagas: [orderSaga] })],
  controllers: [Orders],
  providers: [TakeGoods, Ship],
})
class AppModule {}

const app = await NestFactory.create(AppModule, new FastifyAdapter());
await app.enableShutdownHooks().listen(env.PORT ?? 3000);
