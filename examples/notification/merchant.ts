// The merchant: checks the signature of a notification, and prints it. A repeated one has the same id.
import { env } from 'node:process';
import { Controller, Module, Post, type RawBodyRequest, Req, UnauthorizedException } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { verifySignature } from 'nest-dtx/notify';

type Request = RawBodyRequest<{ headers: Record<string, string | string[] | undefined> }>;

@Controller()
class Merchant {
  @Post('results')
  take(@Req() { headers, rawBody }: Request): void {
    const secrets = [env.NOTIFY_SECRET!];
    try {
      const id = verifySignature({ headers, body: rawBody!, secrets, nowMs: Date.now() });
      console.log(`notification ${id}: ${rawBody}`);
    } catch (error) {
      throw new UnauthorizedException((error as Error).message);
    }
  }
}

@Module({ controllers: [Merchant] })
class MerchantModule {}

const app = await NestFactory.create<NestFastifyApplication>(MerchantModule, new FastifyAdapter(), { rawBody: true });
await app.enableShutdownHooks().listen(env.PORT ?? 3001);
