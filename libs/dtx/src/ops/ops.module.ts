import { type DynamicModule, Module } from '@nestjs/common';
import { type AsyncModuleOptions, configurableModule, type ModuleScope } from '../core/module-options.js';
import { parseOptions } from '../core/options.js';
import { ADMIN_TOKEN, AdminGuard } from './admin.guard.js';
import { AlertsController } from './alerts.controller.js';
import { BulkRetry } from './bulk-retry.js';
import { HealthController } from './health.controller.js';
import { MetricsController } from './metrics.controller.js';
import { Metrics } from './metrics.js';
import { Counts } from './open-row-counts.js';
import { OPS_OPTIONS, type OpsOptions, type OpsOptionsInput, opsOptions } from './options.js';
import { Readiness } from './readiness.js';
import { TransactionsController } from './transactions.controller.js';

const configured = configurableModule<OpsOptionsInput, 'createOpsOptions'>({
  name: 'OpsModule',
  factoryMethod: 'createOpsOptions',
  isGlobal: false,
  values: [[OPS_OPTIONS, (given) => parseOptions('ops', opsOptions, given)]],
  controllers: [TransactionsController, AlertsController, HealthController, MetricsController],
  providers: [
    { provide: ADMIN_TOKEN, useFactory: ({ adminToken }: OpsOptions) => adminToken, inject: [OPS_OPTIONS] },
    AdminGuard,
    BulkRetry,
    Counts,
    Metrics,
    Readiness,
  ],
  exports: [Metrics, Readiness],
});

/**
 * The operations endpoints of an app: `/dtx` (Bearer token), `/health/live`, `/health/ready` and `/metrics`. See
 * docs/operations.md.
 */
@Module({})
export class OpsModule {
  /** @throws OptionsError that names the invalid option, such as an empty `adminToken` */
  static forRoot(options: OpsOptionsInput & ModuleScope): DynamicModule {
    return configured.forRoot(OpsModule, options);
  }

  /** Options from other providers, such as the token. A wrong option stops the start with an OptionsError. */
  static forRootAsync(options: AsyncModuleOptions<OpsOptionsInput, 'createOpsOptions'>): DynamicModule {
    return configured.forRootAsync(OpsModule, options);
  }
}
