import { type DynamicModule, Module } from '@nestjs/common';
import { OptionsError } from '../core/errors.js';
import { ADMIN_TOKEN, AdminGuard } from './admin.guard.js';
import { AlertsController } from './alerts.controller.js';
import { HealthController } from './health.controller.js';
import { Metrics, MetricsController } from './metrics.controller.js';
import { TransactionsController } from './transactions.controller.js';

/** What people and machines operate an app by: `/dtx` (Bearer token), `/health/live`, `/health/ready`, `/metrics`. */
@Module({})
export class OpsModule {
  /** @throws OptionsError for an empty token, which everybody would know */
  static forRoot(options: { adminToken: string }): DynamicModule {
    if (!options.adminToken) throw new OptionsError('ops: adminToken must not be empty');
    return {
      module: OpsModule,
      controllers: [TransactionsController, AlertsController, HealthController, MetricsController],
      providers: [{ provide: ADMIN_TOKEN, useValue: options.adminToken }, AdminGuard, Metrics],
      exports: [Metrics],
    };
  }
}
