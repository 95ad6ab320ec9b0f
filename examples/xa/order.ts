// XA: an order in this database and money in the database of the payment app, both or neither.
import { randomUUID } from 'node:crypto';
import { env } from 'node:process';
import { ConflictException, Controller, Module, Param, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DtxModule } from 'nest-dtx';
import { Xa, XaModule } from 'nest-dtx/xa';
import { Entity, MoreThanOrEqual, PrimaryColumn } from 'typeorm';
import { Account } from './account.entity.js';

@Entity('purchase')
class Purchase {
  @PrimaryColumn() orderId!: string;
}

@Controller()
class Orders {
  constructor(private readonly xa: Xa) {}

  @Post('orders/:owner')
  buy(@Param('owner') owner: string): Promise<string> {
    return this.xa.run(['order', 'payment'], async ({ order, payment }) => {
      const orderId = randomUUID();
      await order.insert(Purchase, { orderId });
      const enough = { owner, balance: MoreThanOrEqual(30) };
      const { affected } = await payment.decrement(Account, enough, 'balance', 30);
      if (affected !== 1) throw new ConflictException('NOT_ENOUGH_MONEY');
      return orderId;
    });
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({ type: 'mysql', url: env.DATABASE_URL, entities: [Purchase], synchronize: true }),
    DtxModule.forRoot({ app: 'order', rabbitmqUrl: env.RABBITMQ_URL! }),
    XaModule.forRoot({ branches: { payment: { url: env.PAYMENT_DATABASE_URL!, entities: [Account] } } }),
  ],
  controllers: [Orders],
})
class AppModule {}

const app = await NestFactory.create(AppModule, new FastifyAdapter());
await app.enableShutdownHooks().listen(env.PORT ?? 3000);
