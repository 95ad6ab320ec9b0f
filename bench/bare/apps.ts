// The three apps, and what the schemes share in each.
import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { Pool } from 'mysql2/promise';
import { PRICE, type Purchase, type Wanted } from '../naive/shop.js';
import type { Broker } from './broker.js';

export const APPS = ['order', 'payment', 'inventory'] as const;
export type App = (typeof APPS)[number];

export interface Process {
  readonly pool: Pool;
  readonly broker: Broker;
  readonly http: FastifyInstance;
}

export function purchaseOf({ buyerId, sku, quantity }: Wanted): Purchase {
  return { orderId: randomUUID(), buyerId, sku, quantity, amount: quantity * PRICE };
}
