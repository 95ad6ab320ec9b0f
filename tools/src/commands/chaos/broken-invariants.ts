// Everything that a run has broken, in one list: between answers and databases, in the audit, and parked rows.
import type { AuditReport } from '../../audit/check-types.js';
import type { Finding } from './history.js';

type Report = Pick<AuditReport, 'checks' | 'nothing' | 'parked'>;

/** Empty if everything holds. A run may end with no row that waits for a person, because its operator retries them. */
export function brokenInvariants(findings: readonly Finding[], { checks, nothing, parked }: Report): Finding[] {
  const violated = checks.flatMap(({ name, violations }) =>
    violations.map((text) => ({ invariant: name, text, orderId: orderIn(text) })),
  );
  const waiting = parked.map(({ app, table, id, gid, error }) => ({
    invariant: 'no row is parked',
    text: `${app}.${table} ${id}: ${error}`,
    orderId: gid ?? undefined,
  }));
  const empty = nothing ? [{ invariant: 'something was bought', text: 'the sandbox has no purchase' }] : [];
  return [...findings, ...violated, ...waiting, ...empty];
}

/** The purchase that a violation names: as an order, a payment, a saga, a transaction or a notification. */
const orderIn = (text: string) => /\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/.exec(text)?.[0];

/** One broken invariant of each kind, with a purchase that shows it where there is one. */
export function oneOfEach(broken: readonly Finding[]): Finding[] {
  const names = [...new Set(broken.map(({ invariant }) => invariant))];
  return names.map((name) => {
    const all = broken.filter(({ invariant }) => invariant === name);
    return all.find(({ orderId }) => orderId !== undefined) ?? all[0]!;
  });
}
