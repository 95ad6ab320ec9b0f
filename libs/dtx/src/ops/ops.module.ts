import { type DynamicModule, Module } from '@nestjs/common';
import { parseOptions } from '../core/options.js';
import { ADMIN_TOKEN, AdminGuard } from './admin.guard.js';
import { AlertsController } from './alerts.controller.js';
import { Counts } from './counts.js';
import { HealthController } from './health.controller.js';
import { Metrics, MetricsController } from './metrics.controller.js';
import { OPS_OPTIONS, type OpsOptionsInput, opsOptions } from './options.js';
import { Readiness } from './readiness.js';
import { TransactionsController } from './transactions.controller.js';

/** What people and machines operate an app by: `/dtx` (Bearer token), `/health/live`, `/health/ready`, `/metrics`. */
@Module({})
export class OpsModule {
  /** @throws OptionsError naming what is wrong, such as an empty token, which everybody would know */
  static forRoot(options: OpsOptionsInput): DynamicModule {
    const checked = parseOptions('ops', opsOptions, options);
    return {
      module: OpsModule,
      controllers: [TransactionsController, AlertsController, HealthController, MetricsController],
      providers: [
        { provide: ADMIN_TOKEN, useValue: checked.adminToken },
        { provide: OPS_OPTIONS, useValue: checked },
        AdminGuard,
        Counts,
        Metrics,
        Readiness,
      ],
      exports: [Metrics, Readiness],
    };
  }
}
