import { channel } from 'node:diagnostics_channel';

/**
 * What happens, for whoever measures: `nest-dtx:<name>` of node:diagnostics_channel, one object each. Without a listener
 * it costs one boolean. Listeners of a process hear all applications in it.
 */
export interface Telemetry {
  /** Work of a scheme was begun: a message stored, a transaction registered. */
  started: { scheme: string };
  /** It came to its end; `ms` since it was begun, where its id tells. A message counts once per consumer. */
  settled: { scheme: string; ms: number | undefined };
  /** It gave up and waits for a person. */
  parked: { scheme: string };
  /** An attempt has failed and will be made again. */
  retried: { scheme: string };
  /** Code inside a transaction of the library's has used another connection. */
  strayed: { what: string };
  published: { outcome: 'confirmed' | 'failed'; ms: number };
  /** A message came to its handler, this long after it was made. */
  delivered: { consumer: string; lagMs: number | undefined };
}

const channels = {
  started: channel('nest-dtx:started'),
  settled: channel('nest-dtx:settled'),
  parked: channel('nest-dtx:parked'),
  retried: channel('nest-dtx:retried'),
  strayed: channel('nest-dtx:strayed'),
  published: channel('nest-dtx:published'),
  delivered: channel('nest-dtx:delivered'),
};

export function measure<Name extends keyof Telemetry>(name: Name, event: Telemetry[Name]): void {
  if (channels[name].hasSubscribers) channels[name].publish(event);
}

/** Hears all events of one name; the function it returns ends that. */
export function onMeasured<Name extends keyof Telemetry>(
  name: Name,
  listener: (event: Telemetry[Name]) => void,
): () => void {
  const hear = (event: unknown) => listener(event as Telemetry[Name]);
  channels[name].subscribe(hear);
  return () => void channels[name].unsubscribe(hear);
}
