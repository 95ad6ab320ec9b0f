import {
  type DynamicModule,
  Inject,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  type Provider,
  RequestMethod,
} from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { OptionsError } from '../core/errors/errors.js';
import { type AsyncModuleOptions, configurableModule, type ModuleScope } from '../core/module-options.js';
import { parseOptions } from '../core/options.js';
import { ADMIN_TOKEN, AdminGuard } from './admin.guard.js';
import { BulkRetry } from './bulk-retry.js';
import { type CheckedRoutes, checkedRoutes, type OpsRoutes, opsControllers } from './endpoints.js';
import { EventFeed } from './event-feed.js';
import { DtxHealthIndicator } from './health-indicator.js';
import { allowOrigins } from './listed-origins.js';
import { Metrics } from './metrics.js';
import { loadPromClient } from './metrics-registry.js';
import { MinuteHistory } from './minute-history.js';
import { Counts } from './open-row-counts.js';
import { OPS_OPTIONS, type OpsOptions, type OpsOptionsInput, opsOptions } from './options.js';
import { Readiness } from './readiness.js';
import { Topology } from './topology.js';
import { WriteHeaderGuard } from './write-header.guard.js';

/** The routes of one module. */
const OPS_ROUTES = Symbol('dtx ops routes');

/** The routes shape the module, so each call has a definition of its own. */
const definitionOf = (routes: CheckedRoutes) =>
  configurableModule<OpsOptionsInput, 'createOpsOptions'>({
    name: 'OpsModule',
    factoryMethod: 'createOpsOptions',
    isGlobal: false,
    values: [[OPS_OPTIONS, (given) => checkedOptions(given, routes)]],
    controllers: opsControllers(routes),
    providers: [
      { provide: ADMIN_TOKEN, useFactory: ({ adminToken = '' }: OpsOptions) => adminToken, inject: [OPS_OPTIONS] },
      AdminGuard,
      BulkRetry,
      Counts,
      DtxHealthIndicator,
      metricsProvider(routes),
      Readiness,
      EventFeed,
      MinuteHistory,
      Topology,
      WriteHeaderGuard,
      { provide: OPS_ROUTES, useValue: routes },
    ],
    exports: [DtxHealthIndicator, Metrics, Readiness],
  });

/**
 * The operations endpoints of an app: `/dtx` (Bearer token), `/health/live`, `/health/ready` and `/metrics`. See
 * docs/operations.md and docs/integrations.md.
 * @example
 *   imports: [DtxModule.forRoot({ app: 'order', rabbitmqUrl }), OpsModule.forRoot({ adminToken })]
 */
@Module({})
export class OpsModule implements NestModule {
  constructor(
    @Inject(OPS_ROUTES) private readonly routes: CheckedRoutes,
    @Inject(OPS_OPTIONS) private readonly options: OpsOptions,
  ) {}

  /** Answers browsers before guards and routes do, because a browser asks without the token what it may send. */
  configure(consumer: MiddlewareConsumer): void {
    const { corsOrigins } = this.options;
    if (corsOrigins.length === 0 || !this.routes.endpoints.includes('operations')) return;
    const path = `${this.routes.path}/*path`;
    consumer.apply(allowOrigins(corsOrigins)).forRoutes({ path, method: RequestMethod.ALL });
  }

  /** @throws OptionsError that names the invalid option, such as an empty `adminToken` */
  static forRoot({ path, endpoints, guard, ...options }: OpsOptionsInput & OpsRoutes & ModuleScope): DynamicModule {
    return definitionOf(checkedRoutes({ path, endpoints, guard })).forRoot(OpsModule, options);
  }

  /**
   * Options from other providers, such as the token. A wrong option stops the start with an OptionsError. The routes are
   * given beside the factory.
   */
  static forRootAsync({
    path,
    endpoints,
    guard,
    ...options
  }: AsyncModuleOptions<OpsOptionsInput, 'createOpsOptions'> & OpsRoutes): DynamicModule {
    return definitionOf(checkedRoutes({ path, endpoints, guard })).forRootAsync(OpsModule, options);
  }
}

/**
 * `Metrics`, or null if they are neither served nor wanted in a registry. prom-client is loaded only here, so an app without
 * metrics need not install it.
 */
function metricsProvider({ endpoints }: CheckedRoutes): Provider {
  return {
    provide: Metrics,
    inject: [Counts, Database, Broker, OPS_OPTIONS],
    useFactory: async (counts: Counts, database: Database, broker: Broker, { registry }: OpsOptions) => {
      if (!endpoints.includes('metrics') && registry === undefined) return null;
      return new Metrics(counts, database, broker, await loadPromClient(), registry);
    },
  };
}

function checkedOptions(given: OpsOptionsInput, { endpoints, guard }: CheckedRoutes): OpsOptions {
  const options = parseOptions('ops', opsOptions, given);
  if (options.adminToken !== undefined && guard !== undefined)
    throw new OptionsError('ops.adminToken: nothing checks it, since `guard` is given; leave out one of the two');
  if (options.adminToken === undefined && guard === undefined && endpoints.includes('operations'))
    throw new OptionsError(
      "ops.adminToken: missing; give a token, or a `guard` of the app, or `endpoints` without 'operations'",
    );
  return options;
}
