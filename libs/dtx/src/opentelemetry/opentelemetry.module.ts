import { type DynamicModule, Inject, Injectable, Module, OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { type OpenTelemetryOptions, traceWithOpenTelemetry } from './trace-with-opentelemetry.js';

const OPTIONS = Symbol('dtx opentelemetry options');

/** Traces from the start of the application to its end. */
@Injectable()
class Tracing implements OnModuleInit, OnApplicationShutdown {
  private stop: (() => void) | undefined;

  constructor(@Inject(OPTIONS) private readonly options: OpenTelemetryOptions) {}

  onModuleInit(): void {
    this.stop = traceWithOpenTelemetry(this.options);
  }

  onApplicationShutdown(): void {
    this.stop?.();
  }
}

/**
 * Spans of the library's steps, while the application runs. See `traceWithOpenTelemetry`.
 * @example
 *   imports: [DtxModule.forRoot({ ... }), DtxOpenTelemetryModule.forRoot()]
 */
@Module({})
export class DtxOpenTelemetryModule {
  /** Begins the spans at the start of the application, and ends them at its stop. */
  static forRoot(options: OpenTelemetryOptions = {}): DynamicModule {
    return { module: DtxOpenTelemetryModule, providers: [{ provide: OPTIONS, useValue: options }, Tracing] };
  }
}
