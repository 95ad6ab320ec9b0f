import { type DynamicModule, Module } from '@nestjs/common';
import { parseOptions } from '../core/options.js';
import { ADMIN_TOKEN, AdminGuard } from './admin.guard.js';
import { AlertsController } from './alerts.controller.js';
import { BulkRetry } from './bulk-retry.js';
import { HealthController } from './health.controller.js';
import { MetricsController } from './metrics.controller.js';
import { Metrics } from './metrics.js';
import { Counts } from './open-row-counts.js';
import { OPS_OPTIONS, type OpsOptionsInput, opsOptions } from './options.js';
import { Readiness } from './readiness.js';
import { TransactionsController } from './transactions.controller.js';

/**
 * The operations endpoints of an app: `/dtx` (Bearer token), `/health/live`, `/health/ready` and `/metrics`. See
 * docs/operations.md.
 */
@Module({})
export class OpsModule {
  /** @throws OptionsError that names the invalid option, such as an empty `adminToken` */
  static forRoot(options: OpsOptionsInput): DynamicModule {
    const checked = parseOptions('ops', opsOptions, options);
    return {
      module: OpsModule,
      controllers: [TransactionsController, AlertsController, HealthController, MetricsController],
      providers: [
        { provide: ADMIN_TOKEN, useValue: checked.adminToken },
        { provide: OPS_OPTIONS, useValue: checked },
        AdminGuard,
        BulkRetry,
        Counts,
        Metrics,
        Readiness,
      ],
      exports: [Metrics, Readiness],
    };
  }
}
