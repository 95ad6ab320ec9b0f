import type { History, Instance, Minute, MinuteOfScheme, Topology } from './types.js';

/** The last answer of one of the instances behind a URL. */
export interface Heard<View> {
  readonly view: View;
  readonly heardAt: number;
}

/** Calls of one round. Beyond it the instances are heard in several rounds. */
const CALLS_MAX = 8;
/** An instance without an answer in this time has ended, or is hidden by now. */
const RECENT_MS = 60_000;
/** As long as its minutes may be shown. */
const KEPT_MS = 3_600_000;

const nameOf = ({ host, pid, startedAt }: Instance) => `${host} ${pid} ${startedAt}`;

/**
 * Asks until each of the expected instances has answered, or until as many calls are made. A balancer that gives each call to
 * the next instance is heard in one round, and each instance is asked about once.
 * @param before the answers of the rounds before
 * @throws the error of the first call
 */
export async function hearInstances<View extends { instance: Instance }>(
  ask: () => Promise<View>,
  before: ReadonlyArray<Heard<View>>,
  expected: number,
): Promise<Array<Heard<View>>> {
  const now = Date.now();
  const all = new Map(
    before.filter(({ heardAt }) => heardAt > now - KEPT_MS).map((one) => [nameOf(one.view.instance), one]),
  );
  const heard = new Set<string>();
  for (let calls = 0; calls === 0 || (calls < Math.min(expected, CALLS_MAX) && heard.size < expected); calls++) {
    const view = await (calls === 0 ? ask() : ask().catch(() => null));
    if (view === null) break;
    heard.add(nameOf(view.instance));
    all.set(nameOf(view.instance), { view, heardAt: Date.now() });
  }
  return [...all.values()].sort((one, other) => nameOf(one.view.instance).localeCompare(nameOf(other.view.instance)));
}

/** The instances that answered lately. */
export function recent<View>(heard: ReadonlyArray<Heard<View>>): Array<Heard<View>> {
  const newest = Math.max(...heard.map(({ heardAt }) => heardAt));
  return heard.filter(({ heardAt }) => heardAt > newest - RECENT_MS);
}

/** Each instance is one consumer of each of its queues, so the broker knows how many run. At least the one that answered. */
export const runningOf = ({ queues }: Pick<Topology, 'queues'>): number =>
  Math.max(1, ...queues.map(({ isAttached, consumers }) => (isAttached ? (consumers ?? 1) : 1)));

/**
 * The present minute by the clock of the instances, whose newest minute was the present one when they were heard. It goes on
 * while no instance answers. The clock of the viewer may be wrong, so only its progress counts.
 */
export const minuteNow = (heard: ReadonlyArray<Heard<Pick<History, 'minutes'>>>, now = Date.now()): number =>
  Math.max(...heard.map(({ view, heardAt }) => Date.parse(view.minutes.at(-1)?.at ?? '') + now - heardAt));

/** The minutes of all instances. Counts are added up. A latency is the highest of the instances. */
export function addedUp(histories: ReadonlyArray<readonly Minute[]>): Minute[] {
  const byTime = new Map<string, Record<string, MinuteOfScheme>>();
  for (const { at, schemes } of histories.flat()) {
    const sum = byTime.get(at) ?? {};
    byTime.set(at, sum);
    for (const [scheme, figures] of Object.entries(schemes)) sum[scheme] = added(sum[scheme], figures);
  }
  return [...byTime].map(([at, schemes]) => ({ at, schemes })).sort((one, other) => one.at.localeCompare(other.at));
}

function added(one: MinuteOfScheme | undefined, other: MinuteOfScheme): MinuteOfScheme {
  if (!one) return other;
  const higher = (a: number | null, b: number | null) => (a === null || b === null ? (a ?? b) : Math.max(a, b));
  return {
    started: one.started + other.started,
    settled: one.settled + other.settled,
    parked: one.parked + other.parked,
    retried: one.retried + other.retried,
    p50Ms: higher(one.p50Ms, other.p50Ms),
    p95Ms: higher(one.p95Ms, other.p95Ms),
  };
}
