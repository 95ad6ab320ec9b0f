import { AsyncLocalStorage } from 'node:async_hooks';

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const storage = new AsyncLocalStorage<string>();

/** Runs work under a W3C traceparent, which messages sent within it carry on. Anything malformed is ignored. */
export function withTraceparent<T>(traceparent: string | null | undefined, work: () => T): T {
  return traceparent && TRACEPARENT.test(traceparent) ? storage.run(traceparent, work) : work();
}

export function currentTraceparent(): string | null {
  return storage.getStore() ?? null;
}
