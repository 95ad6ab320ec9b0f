import { channel } from 'node:diagnostics_channel';

/** The row or message of an event, where the place of the event knows it. */
interface About {
  readonly id?: string | undefined;
  readonly gid?: string | null | undefined;
}

/**
 * The events of the library, published on `nest-dtx:<name>` of node:diagnostics_channel, one object each. Without a
 * listener an event costs one boolean. A listener receives the events of all applications in the process.
 */
export interface Telemetry {
  /** A scheme started work. It stored a message or registered a transaction. */
  started: { scheme: string } & About;
  /**
   * The work ended. `ms` is the time since its start in milliseconds, if the id carries a time. A message counts once per
   * consumer.
   */
  settled: { scheme: string; ms: number | undefined } & About;
  /** The work was parked and waits for an operator. */
  parked: { scheme: string } & About;
  /** An attempt failed and will be retried. */
  retried: { scheme: string } & About;
  /** Code inside a library transaction used another connection. */
  strayed: { what: string };
  /** A message was published. `ms` is the time until its confirm or failure, in milliseconds. */
  published: { outcome: 'confirmed' | 'failed'; ms: number };
  /** A delivery reached its handler. `lagMs` is the age of the message in milliseconds. */
  delivered: { consumer: string; lagMs: number | undefined };
  /** A call to `/dtx` had no admin token, or a wrong one. */
  denied: { token: 'missing' | 'wrong' };
}

const channels = {
  started: channel('nest-dtx:started'),
  settled: channel('nest-dtx:settled'),
  parked: channel('nest-dtx:parked'),
  retried: channel('nest-dtx:retried'),
  strayed: channel('nest-dtx:strayed'),
  published: channel('nest-dtx:published'),
  delivered: channel('nest-dtx:delivered'),
  denied: channel('nest-dtx:denied'),
};

/**
 * Publishes an event to the listeners.
 * @example
 *   emitTelemetry('started', { scheme: 'local-message' });
 */
export function emit<Name extends keyof Telemetry>(name: Name, event: Telemetry[Name]): void {
  if (channels[name].hasSubscribers) channels[name].publish(event);
}

/** @deprecated the old name of `emit` */
export const measure = emit;

/**
 * Subscribes to the events of one name. Returns the function that unsubscribes.
 * @example
 *   const off = onMeasured('parked', ({ scheme }) => parkedTotal.inc({ scheme }));
 */
export function onMeasured<Name extends keyof Telemetry>(
  name: Name,
  listener: (event: Telemetry[Name]) => void,
): () => void {
  const hear = (event: unknown) => listener(event as Telemetry[Name]);
  channels[name].subscribe(hear);
  return () => void channels[name].unsubscribe(hear);
}
