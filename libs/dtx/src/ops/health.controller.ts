import { Get, HttpCode, Injectable, ServiceUnavailableException } from '@nestjs/common';
import { Readiness } from './readiness.js';

/** `/health/live` answers as long as the process runs. `/health/ready` tells if the instance can work, and its degradations. */
@Injectable()
export class HealthController {
  constructor(private readonly readiness: Readiness) {}

  @Get('live')
  @HttpCode(200)
  live(): object {
    return { status: 'ok' };
  }

  @Get('ready')
  async ready(): Promise<object> {
    const { refusal, reasons } = await this.readiness.look();
    if (refusal !== null) throw new ServiceUnavailableException(refusal);
    return { status: 'ok', degraded: Object.keys(reasons), reasons };
  }
}
