import { Controller, Get, HttpCode, ServiceUnavailableException } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';

const PING_LIMIT_MS = 2_000;

/** Live: the process answers. Ready: its own database answers; what else is away is named, it only degrades. */
@Controller('health')
export class HealthController {
  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
  ) {}

  @Get('live')
  @HttpCode(200)
  live(): object {
    return { status: 'ok' };
  }

  @Get('ready')
  async ready(): Promise<object> {
    const limit = new Promise<boolean>((resolve) => setTimeout(resolve, PING_LIMIT_MS, false).unref());
    const up = this.database.ready && (await Promise.race([this.database.ping(), limit]));
    if (!up) throw new ServiceUnavailableException('the database of this app is away');
    return { status: 'ok', degraded: this.broker.isUp ? [] : ['rabbitmq'] };
  }
}
