import { Get, Injectable, Res } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { Metrics } from './metrics.js';

/** `/metrics`: the text of the registry, in the format of the registry. */
@Injectable()
export class MetricsController {
  constructor(
    private readonly metrics: Metrics,
    private readonly adapters: HttpAdapterHost,
  ) {}

  @Get()
  async get(@Res({ passthrough: true }) response: unknown): Promise<string> {
    this.adapters.httpAdapter.setHeader(response, 'content-type', this.metrics.registry.contentType);
    return this.metrics.text();
  }
}
