import type { WaitingQueue } from '../core/broker/queue-kinds.js';

/** The queue of expired prepared messages. One per app, so any instance may check any of them. */
export function checkQueueOf(app: string): string {
  return `dtx.${app}.half-check.v1`;
}

/** The queue in which prepared messages wait for one of their checks. The delay is part of the name. */
export function waitQueueOf(app: string, ttlMs: number): { queue: string; kind: WaitingQueue } {
  return { queue: `dtx.${app}.half-wait.${ttlMs}ms.v1`, kind: { ttlMs, expiredTo: checkQueueOf(app) } };
}
