import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

interface Context {
  readonly traceparent: string | null;
  readonly gid: string | null;
}

const storage = new AsyncLocalStorage<Context>();
const NOTHING: Context = { traceparent: null, gid: null };

/** Runs work under a W3C traceparent, which messages sent within it carry on. Anything malformed is ignored. */
export function withTraceparent<T>(traceparent: string | null | undefined, work: () => T): T {
  if (!traceparent || !TRACEPARENT.test(traceparent)) return work();
  return storage.run({ ...(storage.getStore() ?? NOTHING), traceparent }, work);
}

/** Runs work for a global transaction: what is logged within it can be found by its gid. */
export function withGid<T>(gid: string | null | undefined, work: () => T): T {
  return gid ? storage.run({ ...(storage.getStore() ?? NOTHING), gid }, work) : work();
}

export function currentTraceparent(): string | null {
  return storage.getStore()?.traceparent ?? null;
}

export function currentGid(): string | null {
  return storage.getStore()?.gid ?? null;
}

/** The caller's traceparent if it is one, else that of a new trace (W3C Trace Context, level 1; sampled). */
export function traceparentFrom(header: unknown): string {
  if (typeof header === 'string' && TRACEPARENT.test(header)) return header;
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}
