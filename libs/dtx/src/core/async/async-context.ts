import { AsyncLocalStorage } from 'node:async_hooks';
import type { DataSource } from 'typeorm';

/** The library transaction around running user code. */
export interface Inside {
  readonly source: DataSource;
  /** The running user code, named in the error. */
  readonly what: string;
  isOver: boolean;
}

/** What the current work carries along. */
export interface AsyncContext {
  readonly traceparent: string | null;
  readonly gid: string | null;
  readonly inside: Inside | undefined;
}

const NOTHING: AsyncContext = { traceparent: null, gid: null, inside: undefined };

/** One storage for everything, because Node.js 20 copies each storage into every new promise. */
const storage = new AsyncLocalStorage<AsyncContext>();

export function asyncContext(): AsyncContext {
  return storage.getStore() ?? NOTHING;
}

/** Runs work with the current context and these changes. */
export function withAsyncContext<T>(changes: Partial<AsyncContext>, work: () => T): T {
  const outer = asyncContext();
  const { traceparent = outer.traceparent, gid = outer.gid } = changes;
  // Not spread: this runs for each message and each unit.
  return storage.run({ traceparent, gid, inside: 'inside' in changes ? changes.inside : outer.inside }, work);
}
