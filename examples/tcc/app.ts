// TCC: a booking reserves a seat and money, then confirms both or cancels both.
import { env } from 'node:process';
import { Controller, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DtxModule, Rejected } from 'nest-dtx';
import {
  type ArgsOf,
  defineParticipant,
  Tcc,
  TccCancel,
  TccConfirm,
  TccModule,
  type TccOutcome,
  TccParticipant,
  TccTry,
} from 'nest-dtx/tcc';
import { Column, Entity, EntityManager, MoreThanOrEqual, PrimaryColumn } from 'typeorm';
import { z } from 'zod';

const args = z.object({ name: z.string(), amount: z.int() });
const seats = defineParticipant({ name: 'shop.seats', version: 1, args });
const money = defineParticipant({ name: 'shop.money', version: 1, args });
type Args = ArgsOf<typeof seats>;

@Entity('resource')
class Resource {
  @PrimaryColumn() name!: string;
  @Column() available!: number;
}

class Reservation {
  @TccTry() async reserve(tx: EntityManager, { name, amount }: Args): Promise<void> {
    const enough = { name, available: MoreThanOrEqual(amount) };
    const { affected } = await tx.decrement(Resource, enough, 'available', amount);
    if (affected !== 1) throw new Rejected(`NOT_ENOUGH_${name.toUpperCase()}`);
  }

  @TccConfirm() keep(): void {}

  @TccCancel() async giveBack(tx: EntityManager, { name, amount }: Args): Promise<void> {
    await tx.increment(Resource, { name }, 'available', amount);
  }
}

@TccParticipant(seats)
class Seats extends Reservation {}

@TccParticipant(money)
class Money extends Reservation {}

@Controller()
class Bookings {
  constructor(private readonly tcc: Tcc) {}

  @Post('bookings')
  book(): Promise<TccOutcome> {
    return this.tcc.run({ timeoutMs: 5_000 }, (t) => {
      t.call(seats, { name: 'seats', amount: 1 });
      t.call(money, { name: 'money', amount: 30 });
    });
  }
}

const mysql = { type: 'mysql' as const, url: env.DATABASE_URL, synchronize: true };
const database = TypeOrmModule.forRoot({ ...mysql, entities: [Resource] });
const dtx = { app: 'shop', rabbitmqUrl: env.RABBITMQ_URL! };

@Module({
  imports: [database, DtxModule.forRoot(dtx), TccModule.forRoot()],
  controllers: [Bookings],
  providers: [Seats, Money],
})
class AppModule {}

const app = await NestFactory.create(AppModule, new FastifyAdapter());
await app.enableShutdownHooks().listen(env.PORT ?? 3000);
