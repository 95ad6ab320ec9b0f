// A seeded simulation of sharded outboxes. It has no clock and no server: the same options give the same result.
import { OperatorError } from '../../cli/operator-error.js';
import { random as seeded } from '../chaos/seeded-random.js';
import { type LeaseOptions, leaseOutages, type Outage } from './lease-outages.js';

/** More would need gigabytes of memory and minutes. */
export const MESSAGES_MAX = 5_000_000;
const KEYS = 100_000;

export interface SimulationOptions extends LeaseOptions {
  readonly seed: number;
  /** Messages per second that one shard sends while a relay owns it. */
  readonly ratePerShard: number;
  /** Messages per second of all keys together, as a Poisson process. */
  readonly rate: number;
  /** Part of the messages that have one and the same key, from 0 to 1. */
  readonly hotShare: number;
}

/** Lags are seconds from the commit to the confirm, of the messages that were sent. */
export interface SimulationResult {
  readonly arrivals: number;
  readonly sent: number;
  readonly backlog: number;
  readonly backlogPeak: number;
  readonly lagMean: number;
  readonly lagP50: number;
  readonly lagP99: number;
  readonly takeovers: number;
  /** Seconds from the death of a relay to the takeover of a shard, the longest one. */
  readonly takeoverMax: number;
}

/**
 * Each message goes to the shard of its key. A shard sends in order, at a constant rate, and stops while no relay owns
 * it. A message that is in work at the death of the relay is sent again from its beginning.
 *
 * @throws OperatorError if an option is not usable
 * @example simulate({ seed: 1, shards: 4, relays: 4, ratePerShard: 1_000, rate: 2_000, hotShare: 0, leaseSeconds: 30,
 *   scanSeconds: 1, deathEverySeconds: 60, seconds: 300 })
 */
export function simulate(options: SimulationOptions): SimulationResult {
  refuseBadOptions(options);
  const random = seeded(options.seed);
  const outages = leaseOutages(options, random);
  const shards = outages.map((list) => new Shard(1 / options.ratePerShard, list));
  const arrivals: number[] = [];
  const departures: number[] = [];
  for (let at = gap(options.rate, random); at < options.seconds; at += gap(options.rate, random)) {
    const key = random() < options.hotShare ? 0 : Math.floor(random() * KEYS);
    arrivals.push(at);
    departures.push(shards[shardOf(key, options.shards)]!.send(at));
  }
  return { ...figures(arrivals, departures, options.seconds), ...takeovers(outages) };
}

/** Seconds to the next arrival. */
const gap = (rate: number, random: () => number) =>
  rate === 0 ? Number.POSITIVE_INFINITY : -Math.log(1 - random()) / rate;

/** Mixes the bits of the key (murmur3 finalizer), so that neighbours do not share a shard. */
export function shardOf(key: number, shards: number): number {
  let hash = Math.imul(key ^ (key >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % shards;
}

/** One queue: a message starts when the one before has left. */
class Shard {
  #free = 0;
  #next = 0;

  constructor(
    private readonly serviceSeconds: number,
    private readonly outages: readonly Outage[],
  ) {}

  /** Takes arrivals in order of time. Returns the moment at which the message is sent. */
  send(at: number): number {
    let start = Math.max(at, this.#free);
    for (let outage = this.outages[this.#next]; outage; outage = this.outages[++this.#next]) {
      if (start + this.serviceSeconds <= outage.from) break;
      start = Math.max(start, outage.until);
    }
    this.#free = start + this.serviceSeconds;
    return this.#free;
  }
}

function figures(arrivals: readonly number[], departures: readonly number[], seconds: number) {
  const lags = new Float64Array(departures.length);
  let sent = 0;
  let sum = 0;
  departures.forEach((departure, index) => {
    if (departure > seconds) return;
    lags[sent] = departure - arrivals[index]!;
    sum += lags[sent++]!;
  });
  const sorted = lags.subarray(0, sent).sort();
  const share = (part: number) => (sent === 0 ? 0 : sorted[Math.ceil(sent * part) - 1]!);
  return {
    arrivals: arrivals.length,
    sent,
    backlog: arrivals.length - sent,
    backlogPeak: peak(arrivals, departures),
    lagMean: sent === 0 ? 0 : sum / sent,
    lagP50: share(0.5),
    lagP99: share(0.99),
  };
}

function peak(arrivals: readonly number[], departures: readonly number[]): number {
  const ordered = Float64Array.from(departures).sort();
  let gone = 0;
  let most = 0;
  arrivals.forEach((at, index) => {
    while (gone < ordered.length && ordered[gone]! <= at) gone++;
    most = Math.max(most, index + 1 - gone);
  });
  return most;
}

function takeovers(outages: readonly Outage[][]) {
  const all = outages.flat();
  return { takeovers: all.length, takeoverMax: all.reduce((most, one) => Math.max(most, one.until - one.from), 0) };
}

function refuseBadOptions(options: SimulationOptions): void {
  const { shards, relays, ratePerShard, rate, hotShare, leaseSeconds, scanSeconds, deathEverySeconds, seconds } =
    options;
  refuseUnless('shards', shards, Number.isInteger(shards) && shards >= 1 && shards <= 100_000, 'from 1 to 100000');
  refuseUnless('relays', relays, Number.isInteger(relays) && relays >= 1 && relays <= 1_000, 'from 1 to 1000');
  refuseUnless('rate per shard', ratePerShard, ratePerShard > 0 && ratePerShard < Number.POSITIVE_INFINITY, 'above 0');
  refuseUnless('hot share', hotShare, hotShare >= 0 && hotShare <= 1, 'from 0 to 1');
  refuseUnless('lease', leaseSeconds, leaseSeconds > 0 && leaseSeconds <= 3_600, 'above 0, at most 3600 seconds');
  refuseUnless('scan', scanSeconds, scanSeconds >= 0 && scanSeconds <= 3_600, 'from 0 to 3600 seconds');
  refuseUnless('seconds', seconds, seconds > 0 && seconds <= 1_000_000, 'above 0, at most 1000000');
  const often = deathEverySeconds === 0 || deathEverySeconds >= 0.001;
  refuseUnless('death interval', deathEverySeconds, often, '0, or at least 0.001 seconds');
  const most = MESSAGES_MAX / seconds;
  refuseUnless('rate', rate, rate >= 0 && rate <= most, `from 0 to ${most}, which is ${MESSAGES_MAX} messages in all`);
}

function refuseUnless(name: string, value: number, isGood: boolean, wanted: string): void {
  if (!isGood) throw new OperatorError(`${name} is ${value}: it must be ${wanted}`);
}
