import { Injectable } from '@nestjs/common';
import { Readiness } from './readiness.js';

/** The result of a health indicator of Terminus, under its key. */
export type DtxHealth<Key extends string> = Record<
  Key,
  | {
      readonly status: 'up';
      /** The parts that do not work, such as `rabbitmq`. */
      readonly degraded: string[];
      /** The reason of each degraded part. */
      readonly reasons: Readonly<Record<string, string>>;
    }
  | { readonly status: 'down'; readonly message: string }
>;

/**
 * A health indicator for `@nestjs/terminus` 11 or newer. It is down while the database of the app accepts no writes, and while
 * the instance stops. Other problems, such as an unavailable broker, leave it up and are listed in `degraded`.
 *
 * @example
 *   return this.health.check([() => this.dtx.isHealthy('nest-dtx')]); // in a method with @HealthCheck()
 */
@Injectable()
export class DtxHealthIndicator {
  /** @internal */
  constructor(private readonly readiness: Readiness) {}

  /** Checks the database with a test write that is at most `probeFreshMs` old. Never throws. */
  async isHealthy<Key extends string>(key: Key): Promise<DtxHealth<Key>> {
    const { refusal, reasons } = await this.readiness.look();
    const health =
      refusal === null
        ? { status: 'up' as const, degraded: Object.keys(reasons), reasons }
        : { status: 'down' as const, message: refusal };
    return { [key]: health } as DtxHealth<Key>;
  }
}
