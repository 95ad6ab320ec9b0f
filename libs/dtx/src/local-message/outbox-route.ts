import type { Contract } from '../core/broker/message-contract.js';
import type { ExchangeRoute } from '../core/broker/publish-target.js';

/**
 * The column `route` of dtx_outbox: the destination of a message whose contract has `receipts: false`. Null for a message
 * with receipts. It is stored with the row, because another instance may send it without the contract.
 */
export type OutboxRoute = ExchangeRoute | { readonly kind: 'work' | 'replicated' };

/** The stored route of a contract, or null. */
export function routeOf({ receipts, publishTo, replicated }: Omit<Contract, 'gid'>): string | null {
  if (receipts !== false) return null;
  const route: OutboxRoute = publishTo
    ? { exchange: publishTo.exchange, routingKey: publishTo.routingKey }
    : { kind: replicated ? 'replicated' : 'work' };
  return JSON.stringify(route);
}

/** Describes the destination of a row, from its columns `route` and `awaiting`. Never throws, since a view shows it. */
export function destinationOf({ route, awaiting }: { readonly route?: unknown; readonly awaiting: unknown }): string {
  const [, exchange, routingKey] = /^\{"exchange":(".*"),"routingKey":(".*")\}$/.exec(String(route)) ?? [];
  if (exchange !== undefined) return `exchange ${exchange} with routing key ${routingKey}`;
  return String(awaiting).slice(1, -1) || 'all its consumers';
}
