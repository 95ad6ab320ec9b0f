import { type CanActivate, Controller, SetMetadata, type Type, UseGuards, VERSION_NEUTRAL } from '@nestjs/common';
import { OptionsError } from '../core/errors/errors.js';
import { AdminGuard } from './admin.guard.js';
import { AlertsController } from './alerts.controller.js';
import { ConsoleController } from './console.controller.js';
import { EventsController } from './events.controller.js';
import { HealthController } from './health.controller.js';
import { MetricsController } from './metrics.controller.js';
import { TracesController } from './traces.controller.js';
import { TransactionsController } from './transactions.controller.js';
import { WriteHeaderGuard } from './write-header.guard.js';

/** A group of routes of `OpsModule`: `/dtx`, `/health` and `/metrics`. */
export type OpsEndpoint = 'operations' | 'health' | 'metrics';

const ALL: readonly OpsEndpoint[] = ['operations', 'health', 'metrics'];

/**
 * Metadata of each route of `OpsModule`. Its value is the `OpsEndpoint`.
 * @example
 *   // In a global guard of the app:
 *   const endpoint = this.reflector.getAllAndOverride(DTX_ENDPOINT, [context.getHandler(), context.getClass()]);
 *   if (endpoint === 'health' || endpoint === 'metrics') return true;
 */
export const DTX_ENDPOINT = 'nest-dtx:endpoint';

/** Options that decide which routes exist, so they are known before any provider. */
export interface OpsRoutes {
  /** Base path of the operations API. The default is `dtx`. */
  readonly path?: string;
  /** The routes that are served. The default is all of them. Each instance has its own choice. */
  readonly endpoints?: readonly OpsEndpoint[];
  /** A guard of the app for the operations API, in place of the one that checks `adminToken`. */
  readonly guard?: Type<CanActivate>;
}

/** `OpsRoutes` with its defaults. */
export interface CheckedRoutes extends OpsRoutes {
  readonly path: string;
  readonly endpoints: readonly OpsEndpoint[];
}

/** @throws OptionsError for a wrong path or an unknown endpoint */
export function checkedRoutes({ path = 'dtx', endpoints = ALL, guard }: OpsRoutes): CheckedRoutes {
  if (!/^\/?[\w.~-]+(\/[\w.~-]+)*$/.test(path))
    throw new OptionsError(`ops.path: expected a path such as "internal/dtx", got ${JSON.stringify(path)}`);
  const unknown = endpoints.find((one) => !ALL.includes(one));
  if (unknown !== undefined)
    throw new OptionsError(`ops.endpoints: expected ${ALL.join(', ')}, got ${JSON.stringify(unknown)}`);
  return { path: path.replace(/^\//, ''), endpoints, guard };
}

/** The controllers of a module. Their paths and guards are its own, so another module in the process may have others. */
export function opsControllers(routes: CheckedRoutes): Type[] {
  const { path, endpoints, guard = AdminGuard } = routes;
  const all: Array<[OpsEndpoint, Type, string]> = [
    ['operations', TransactionsController, path],
    ['operations', AlertsController, `${path}/alerts`],
    ['operations', EventsController, path],
    ['operations', TracesController, path],
    ['operations', ConsoleController, `${path}/console`],
    ['health', HealthController, 'health'],
    ['metrics', MetricsController, 'metrics'],
  ];
  // The files of the console contain no data.
  const guardsOf = (endpoint: OpsEndpoint, base: Type) =>
    endpoint === 'operations' && base !== ConsoleController ? [guard, WriteHeaderGuard] : [];
  return all
    .filter(([endpoint]) => endpoints.includes(endpoint))
    .map(([endpoint, base, at]) => controllerAt(endpoint, base, at, guardsOf(endpoint, base)));
}

/** Nest inherits the routes and the injected parameters of the base. The name appears in logs and in API documents. */
function controllerAt(endpoint: OpsEndpoint, base: Type, path: string, guards: Array<Type<CanActivate>>): Type {
  const controller = { [base.name]: class extends base {} }[base.name]!;
  // Probes, scrapes and the console know one path, whatever versions the app's own routes have.
  Controller({ path, version: VERSION_NEUTRAL })(controller);
  SetMetadata(DTX_ENDPOINT, endpoint)(controller);
  if (guards.length > 0) UseGuards(...guards)(controller);
  return controller;
}
