import { type LookupAddress, type LookupOptions, lookup, Resolver } from 'node:dns';

/** How a name becomes addresses: as `dns.lookup` with `all`. */
export type LookUp = (
  host: string,
  options: LookupOptions & { all: true },
  done: (error: Error | null, found: LookupAddress[]) => void,
) => void;

/** Asked of each name server, and how often. */
const ANSWER_MS = 1_500;
const TRIES = 2;
/** What the name servers themselves could not tell: the system would ask them once more. */
const UNANSWERED = new Set(['ETIMEOUT', 'ETIMEDOUT', 'ESERVFAIL', 'ECANCELLED']);

/**
 * Looks names up by DNS itself. `dns.lookup` does it in threads, of which only two are for that: two targets whose name
 * servers are silent would hold up the names of all others, and those of databases and brokers that are connected to
 * again. Only what DNS does not know at all is left to the system: its hosts file, its search list, `localhost`.
 */
export function lookUpBy(servers: Resolver = systemServers, system: LookUp = lookup): LookUp {
  return (host, options, done) => {
    if (!host.includes('.') || /\.localhost\.?$/i.test(host)) return system(host, options, done);
    void Promise.allSettled(familiesOf(options).map((family) => ask(servers, host, family))).then((answers) => {
      const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
      if (found.length > 0) return done(null, found);
      const errors = answers.flatMap((answer) =>
        answer.status === 'rejected' ? [answer.reason as NodeJS.ErrnoException] : [],
      );
      const silent = errors.find(({ code }) => UNANSWERED.has(code ?? ''));
      if (silent) done(silent, []);
      else system(host, options, done);
    });
  };
}

function familiesOf({ family }: LookupOptions): number[] {
  if (family === 4 || family === 'IPv4') return [4];
  if (family === 6 || family === 'IPv6') return [6];
  return [4, 6];
}

const systemServers = new Resolver({ timeout: ANSWER_MS, tries: TRIES });

function ask(servers: Resolver, host: string, family: number): Promise<LookupAddress[]> {
  return new Promise((resolve, reject) => {
    const answered = (error: Error | null, addresses: string[]) => {
      if (error) reject(error);
      else resolve(addresses.map((address) => ({ address, family })));
    };
    if (family === 4) servers.resolve4(host, answered);
    else servers.resolve6(host, answered);
  });
}
