// When a shard has no relay: from the death of its owner until another relay has taken over the expired lease.

/** Seconds since the start of the run. */
export interface Outage {
  readonly from: number;
  readonly until: number;
}

export interface LeaseOptions {
  readonly shards: number;
  readonly relays: number;
  readonly leaseSeconds: number;
  /** How often a living relay looks for expired leases. */
  readonly scanSeconds: number;
  /** A relay dies this often, one after the other. 0: none dies. */
  readonly deathEverySeconds: number;
  readonly seconds: number;
}

/** The outages of each shard, in order of time. A relay renews its leases after each third of their time. */
export function leaseOutages(options: LeaseOptions, random: () => number): Outage[][] {
  const { shards, relays, leaseSeconds, scanSeconds, deathEverySeconds, seconds } = options;
  const outages: Outage[][] = Array.from({ length: shards }, () => []);
  if (deathEverySeconds === 0) return outages;
  const owners = Array.from({ length: shards }, (_, shard) => shard % relays);
  const free = new Array<number>(shards).fill(0);
  for (let n = 1; n * deathEverySeconds < seconds; n++) {
    const from = n * deathEverySeconds;
    const dead = (n - 1) % relays;
    const sinceRenewal = random() * (leaseSeconds / 3);
    owners.forEach((owner, shard) => {
      // A shard that still waits for its takeover has no owner that could die.
      if (owner !== dead || free[shard]! > from) return;
      const until = from + leaseSeconds - sinceRenewal + random() * scanSeconds;
      outages[shard]!.push({ from, until });
      free[shard] = until;
      owners[shard] = nextOwner(owners, relays, dead);
    });
  }
  return outages;
}

/** The living relay with the fewest shards. A lone relay is started again, and finds its own leases expired. */
function nextOwner(owners: readonly number[], relays: number, dead: number): number {
  if (relays === 1) return dead;
  const counts = Array.from({ length: relays }, (_, relay) => (relay === dead ? Number.POSITIVE_INFINITY : 0));
  for (const owner of owners) counts[owner]! += 1;
  return counts.indexOf(Math.min(...counts));
}
