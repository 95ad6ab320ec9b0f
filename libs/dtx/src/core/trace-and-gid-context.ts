/** The trace context and the gid of the current work. Messages, rows and log lines carry them on. */
import { randomBytes } from 'node:crypto';
import { asyncContext, withAsyncContext } from './async/async-context.js';

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/**
 * Runs work under a W3C traceparent. Messages that the work sends carry it. A malformed value is ignored.
 * @example
 *   await withTraceparent(job.traceparent, () => this.handle(job));
 */
export function withTraceparent<T>(traceparent: string | null | undefined, work: () => T): T {
  if (!traceparent || !TRACEPARENT.test(traceparent)) return work();
  return withAsyncContext({ traceparent }, work);
}

/**
 * Runs work under the gid of a global transaction. Log lines of the work carry the gid.
 * @example
 *   await withGid(orderId, () => this.refund(orderId));
 */
export function withGid<T>(gid: string | null | undefined, work: () => T): T {
  return gid ? withAsyncContext({ gid }, work) : work();
}

/** As both together, for a message or a row. */
export function withTraceAndGid<T>(
  { traceparent, gid }: { traceparent?: string | null | undefined; gid?: string | null | undefined },
  work: () => T,
): T {
  const isTrace = traceparent && TRACEPARENT.test(traceparent);
  if (!isTrace && !gid) return work();
  const outer = asyncContext();
  return withAsyncContext({ traceparent: isTrace ? traceparent : outer.traceparent, gid: gid || outer.gid }, work);
}

/**
 * The W3C traceparent of the current work, or null.
 * @example
 *   withTraceparent(traceparent, () => currentTraceparent()); // traceparent
 */
export function currentTraceparent(): string | null {
  return asyncContext().traceparent;
}

/**
 * The gid of the current work, or null.
 * @example
 *   withGid('order-4711', () => currentGid()); // 'order-4711'
 */
export function currentGid(): string | null {
  return asyncContext().gid;
}

/**
 * Returns a valid traceparent of the caller, or a new sampled one (W3C Trace Context, level 1).
 * @example
 *   withTraceparent(traceparentFrom(request.headers.traceparent), next);
 */
export function traceparentFrom(header: unknown): string {
  if (typeof header === 'string' && TRACEPARENT.test(header)) return header;
  const hex = randomBytes(24).toString('hex');
  return `00-${hex.slice(0, 32)}-${hex.slice(32)}-01`;
}
