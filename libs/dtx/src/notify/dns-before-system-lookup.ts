import { type LookupAddress, type LookupOptions, lookup, Resolver } from 'node:dns';

/** Signature of `dns.lookup` with `all: true`. */
export type LookUp = (
  host: string,
  options: LookupOptions & { all: true },
  done: (error: Error | null, found: LookupAddress[]) => void,
) => void;

/** Time limit of one query to a name server. */
const ANSWER_MS = 1_500;
/** Queries to each name server before it counts as silent. */
const TRIES = 2;
/** Errors of a name server that gave no answer. The system resolver would only ask it again. */
const UNANSWERED = new Set(['ETIMEOUT', 'ETIMEDOUT', 'ESERVFAIL', 'ECANCELLED']);

/**
 * Resolves target names by DNS without the thread pool. `dns.lookup` uses at most two pool threads, so two silent name
 * servers would delay all other names, including the broker's. The system resolver serves only names that DNS does not
 * know: hosts file, search list, `localhost`.
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
