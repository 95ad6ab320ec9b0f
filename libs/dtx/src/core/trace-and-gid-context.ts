/**
 * The trace context and the gid of the current work, as an AsyncLocalStorage. Messages, rows and log lines carry them
 * on.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

interface Context {
  readonly traceparent: string | null;
  readonly gid: string | null;
}

const storage = new AsyncLocalStorage<Context>();
const NOTHING: Context = { traceparent: null, gid: null };

/**
 * Runs work under a W3C traceparent. Messages that the work sends carry it. A malformed value is ignored.
 * @example
 *   await withTraceparent(job.traceparent, () => this.handle(job));
 */
export function withTraceparent<T>(traceparent: string | null | undefined, work: () => T): T {
  if (!traceparent || !TRACEPARENT.test(traceparent)) return work();
  return storage.run({ ...(storage.getStore() ?? NOTHING), traceparent }, work);
}

/**
 * Runs work under the gid of a global transaction. Log lines of the work carry the gid.
 * @example
 *   await withGid(orderId, () => this.refund(orderId));
 */
export function withGid<T>(gid: string | null | undefined, work: () => T): T {
  return gid ? storage.run({ ...(storage.getStore() ?? NOTHING), gid }, work) : work();
}

/** As both together, for a message or a row. */
export function withTraceAndGid<T>(
  { traceparent, gid }: { traceparent?: string | null | undefined; gid?: string | null | undefined },
  work: () => T,
): T {
  const isTrace = traceparent && TRACEPARENT.test(traceparent);
  if (!isTrace && !gid) return work();
  const outer = storage.getStore() ?? NOTHING;
  return storage.run({ traceparent: isTrace ? traceparent : outer.traceparent, gid: gid || outer.gid }, work);
}

/**
 * The W3C traceparent of the current work, or null.
 * @example
 *   withTraceparent(traceparent, () => currentTraceparent()); // traceparent
 */
export function currentTraceparent(): string | null {
  return storage.getStore()?.traceparent ?? null;
}

/**
 * The gid of the current work, or null.
 * @example
 *   withGid('order-4711', () => currentGid()); // 'order-4711'
 */
export function currentGid(): string | null {
  return storage.getStore()?.gid ?? null;
}

/**
 * Returns a valid traceparent of the caller, or a new sampled one (W3C Trace Context, level 1).
 * @example
 *   withTraceparent(traceparentFrom(request.headers.traceparent), next);
 */
export function traceparentFrom(header: unknown): string {
  if (typeof header === 'string' && TRACEPARENT.test(header)) return header;
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}
