// The history of a run and the invariants between it and the databases. Pure rules: a forged history is enough to test them.

/** The last definite answer to a key. */
export interface Told {
  readonly route: string;
  /** Absent for a restock. */
  readonly orderId?: string | undefined;
  readonly status?: string | undefined;
}

/** What the clients have seen. */
export interface Seen {
  /** By key. */
  readonly told: ReadonlyMap<string, Told>;
  /** Keys whose call was made and has no definite answer. It may have happened or not. */
  readonly unknown: ReadonlySet<string>;
  /** Answers that must never happen, and answers that contradict an earlier one. */
  readonly wrong: readonly string[];
}

/** What the databases hold at the end. */
export interface Found {
  /** Status by order id. */
  readonly orders: ReadonlyMap<string, string>;
  /** Opened and restocked quantity, over all skus of the run. */
  readonly opening: bigint;
}

/** One broken invariant. */
export interface Finding {
  readonly invariant: string;
  readonly text: string;
  /** The purchase that shows it, if there is one. */
  readonly orderId?: string | undefined;
}

export const RESTOCK = 'POST /restocks';
const isFinal = (status: string | undefined) => status === 'CONFIRMED' || status === 'CANCELLED';

/** @param opened the stock at the begin, over all skus. A restock adds one. */
export function findingsOf(seen: Seen, found: Found, opened: bigint): Finding[] {
  return [
    ...seen.wrong.map((text) => ({ invariant: 'answers agree with each other', text })),
    ...keptAnswers(seen, found),
    ...oneOrderPerKey(seen),
    ...noOrderFromNowhere(seen, found),
    ...restocksOnce(seen, found, opened),
  ];
}

/** Final statuses by number. A purchase without a row was refused at once. */
export function countOf({ told }: Seen, { orders }: Found): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const one of told.values()) {
    if (one.route === RESTOCK) continue;
    const status = reallyOf(one, orders);
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}

/** A purchase that was refused at once may have left no row. */
function reallyOf({ orderId, status }: Told, orders: Found['orders']): string {
  return orders.get(orderId ?? '') ?? (status === 'CANCELLED' ? 'CANCELLED' : 'missing');
}

function keptAnswers({ told }: Seen, { orders }: Found): Finding[] {
  return [...told].flatMap(([key, one]) => {
    if (one.route === RESTOCK) return [];
    const really = reallyOf(one, orders);
    const isKept = isFinal(one.status) ? really === one.status : isFinal(really);
    const text = `${one.route} with ${key} got ${one.status} for ${one.orderId}, which is ${really}`;
    return isKept ? [] : [{ invariant: 'an answer is kept', text, orderId: one.orderId }];
  });
}

function oneOrderPerKey({ told }: Seen): Finding[] {
  const keys = new Map<string, string>();
  return [...told].flatMap(([key, { orderId }]) => {
    if (orderId === undefined) return [];
    const other = keys.get(orderId);
    keys.set(orderId, key);
    if (other === undefined) return [];
    return [{ invariant: 'one purchase per key', text: `${other} and ${key} have one purchase ${orderId}`, orderId }];
  });
}

function noOrderFromNowhere({ told, unknown }: Seen, { orders }: Found): Finding[] {
  const known = new Set([...told.values()].map(({ orderId }) => orderId));
  const strange = [...orders.keys()].filter((id) => !known.has(id));
  if (strange.length <= unknown.size) return [];
  const text = `${strange.length} orders belong to no answer, and only ${unknown.size} calls have none: ${strange[0]}`;
  return [{ invariant: 'no order from nowhere', text, orderId: strange[0] }];
}

function restocksOnce({ told, unknown }: Seen, { opening }: Found, opened: bigint): Finding[] {
  const answered = BigInt([...told.values()].filter(({ route }) => route === RESTOCK).length);
  const added = opening - opened;
  if (added >= answered && added <= answered + BigInt(unknown.size)) return [];
  const text = `${answered} restocks were answered, and ${added} pieces were added (${unknown.size} calls without an answer)`;
  return [{ invariant: 'a restock happens once', text }];
}

/** What a run has to have met. Otherwise it has checked nothing. */
export interface Evidence {
  readonly purchases: number;
  /** Uses of each nemesis that began. */
  readonly begun: Readonly<Record<string, number>>;
  /** Uses of each nemesis that could not be begun, for example because its server was frozen. */
  readonly failed: Readonly<Record<string, number>>;
  /** Deliveries that came again, by the count of the broker, and messages that were sent again on purpose. */
  readonly duplicates: number;
  /** Rows that the operator has retried or rejected. */
  readonly byOperator: { readonly retried: number; readonly rejected: number };
  /** Whether the audit has found the wrong row that was planted for it. */
  readonly isCanaryFound: boolean;
}

const PURCHASES_MIN = 20;
/** A nemesis that fails so often and never begins does not work on these servers. */
const FAILED_MAX = 3;

/** Why the run proves nothing. Empty if it does. */
export function gapsOf({ purchases, begun, failed, duplicates, isCanaryFound }: Evidence): string[] {
  const faults = Object.values(begun).reduce((sum, count) => sum + count, 0);
  const useless = Object.keys(failed).filter((name) => !begun[name] && failed[name]! >= FAILED_MAX);
  return [
    ...(purchases < PURCHASES_MIN ? [`only ${purchases} purchases have an answer`] : []),
    ...(faults === 0 ? ['no fault began'] : []),
    ...useless.map((name) => `"${name}" failed to begin ${failed[name]} times and never began`),
    ...(duplicates === 0 ? ['no message came twice'] : []),
    ...(isCanaryFound ? [] : ['the audit has not found the row that was falsified for it']),
  ];
}
