import { Controller, Get, HttpCode, ServiceUnavailableException } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { RedisClaims } from '../core/idempotency/redis-claims.js';

const PING_LIMIT_MS = 2_000;

/** Live: the process answers. Ready: its own database answers; what else is away is named, it only degrades. */
@Controller('health')
export class HealthController {
  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly redis: RedisClaims,
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
    const { problem } = this.database;
    if (!up && problem) throw new ServiceUnavailableException(`the database of this app cannot be used: ${problem}`);
    if (!up) throw new ServiceUnavailableException('the database of this app is away');
    const degraded = [
      ...(this.broker.isUp ? [] : ['rabbitmq']),
      ...(this.redis.isUsed && !this.redis.isUp ? ['redis'] : []),
    ];
    return { status: 'ok', degraded };
  }
}
