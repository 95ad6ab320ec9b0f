// XA, the other database: this app owns the accounts, and prepares its database for branches of other apps.
import { env } from 'node:process';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DtxModule } from 'nest-dtx';
import { XaModule } from 'nest-dtx/xa';
import { Account } from './account.entity.js';

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'mysql',
      url: env.PAYMENT_DATABASE_URL,
      entities: [Account],
      synchronize: true,
    }),
    DtxModule.forRoot({ app: 'payment', rabbitmqUrl: env.RABBITMQ_URL! }),
    XaModule.forParticipant(),
  ],
})
class AppModule {}

const app = await NestFactory.create(AppModule, new FastifyAdapter());
await app.enableShutdownHooks().listen(env.PORT ?? 3001);
