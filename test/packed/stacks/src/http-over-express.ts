import { Controller, Get, type MiddlewareConsumer, Module, type NestModule, Param, Post } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { Rejected } from 'nest-dtx';
import { DtxExceptionFilter, TraceparentMiddleware } from 'nest-dtx/http';
import { LocalMessages } from 'nest-dtx/local-message';
import { DtxHealthIndicator, OpsModule } from 'nest-dtx/ops';
import { DataSource } from 'typeorm';
import { moduleOf, start, until } from './running-service.js';
import { contractOf, modulesOf } from './sent-message.js';

const asked = contractOf('express.take');

@Controller()
class Orders {
  constructor(
    private readonly db: DataSource,
    private readonly messages: LocalMessages,
    private readonly health: HealthCheckService,
    private readonly dtx: DtxHealthIndicator,
  ) {}

  @Post('orders/:id')
  place(@Param('id') id: string): Promise<string> {
    return this.db.transaction((tx) => this.messages.append(tx, asked, { id }));
  }

  @Post('refused')
  refuse(): void {
    throw new Rejected('OUT_OF_STOCK');
  }

  @Get('healthz')
  @HealthCheck()
  check(): Promise<unknown> {
    return this.health.check([() => this.dtx.isHealthy('nest-dtx')]);
  }
}

@Module({
  imports: [TerminusModule, OpsModule.forRoot({ endpoints: [] })],
  controllers: [Orders],
  providers: [{ provide: APP_FILTER, useClass: DtxExceptionFilter }],
})
class HttpModule implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(TraceparentMiddleware).forRoutes('{*path}');
  }
}

/** A service behind Express: what the filter answers, which trace a request begins or joins, and its health in Terminus. */
export async function httpOverExpress(): Promise<object> {
  const app = await start(moduleOf({ imports: [...modulesOf('express'), HttpModule] }));
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  const traceparent = `00-${'c'.repeat(32)}-${'d'.repeat(16)}-01`;
  const { status: placed } = await fetch(`${url}/orders/traced`, { method: 'POST', headers: { traceparent } });
  const [row] = await app.get(DataSource).query('SELECT traceparent FROM dtx_outbox WHERE gid = ?', ['traced']);
  const refused = await fetch(`${url}/refused`, { method: 'POST' });
  const { reason } = (await refused.json()) as { reason: string };
  const health = await until('Terminus answers', async () => {
    const answer = await fetch(`${url}/healthz`);
    return answer.ok && ((await answer.json()) as object);
  });
  const adapter = app.getHttpAdapter().getType();
  await app.close();
  return { adapter, placed, isTraced: row.traceparent === traceparent, refused: [refused.status, reason], health };
}
