import { sql } from '../fixtures/sandbox.js';
import { type Answer, call } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import type { Case } from './matrix-types.js';

const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };

export const isAtPoint = ({ row, victim }: Case): boolean => victim.hits().includes(row.failpoint);

/** Makes the call of a case at a url. The key makes a second call a repetition of the first. */
function post({ scheme, row, attempt }: Case, url: string): Promise<Answer> {
  return call(`${url}${scheme.path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': attempt.key },
    body: JSON.stringify(row.wanted ?? scheme.wanted ?? BOOK),
  });
}

/**
 * Makes the call, at the victim if its app takes it. The call is made again after a 503 that left no key: on a busy
 * machine the broker connection of a fresh process may not be up yet.
 */
export async function place(at: Case): Promise<void> {
  const { shop, scheme, row, victim } = at;
  const { url } = row.app === scheme.app ? victim : shop.of(scheme.app);
  const isTaken = async () => {
    const answer = await post(at, url).catch(() => null); // the answer may die with the victim
    return answer?.status !== 503 || isAtPoint(at) || (await idOfKey(at)) !== '';
  };
  await until('the call is taken', isTaken, { everyMs: 200 });
}

/** Repeats the call at an instance that lives. */
export const repeat = (at: Case): Promise<Answer> => post(at, at.shop.of(at.scheme.app).url);

/** Repeats the call until it is answered with this status. Returns the id of its order. */
export function idOnceAnswered(at: Case, expected: number): Promise<string> {
  return until(`the same key is answered with ${expected}`, async () => {
    const { status, body } = await repeat(at);
    return status === expected && String(body.orderId);
  });
}

/** The id that is committed with the key of the call, or ''. */
export async function idOfKey({ shop, scheme, attempt }: Case): Promise<string> {
  const query = 'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?';
  const [found] = await sql<{ gid: string }>(shop.sandbox, scheme.app, query, [attempt.key]);
  return found?.gid ?? '';
}
