import { Controller, Get, HttpCode, ServiceUnavailableException } from '@nestjs/common';
import { Readiness } from './readiness.js';

/** Live: the process answers. Ready: this instance can do its work, and names what it has to do without. */
@Controller('health')
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
