import { type Answer, call } from '../fixtures/three-apps.js';

/** A purchase in one XA transaction, at one instance of the order app. */
export function buy(url: string, key: string | undefined, body: object): Promise<Answer> {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (key !== undefined) headers['idempotency-key'] = key;
  return call(`${url}/orders/xa`, { method: 'POST', headers, body: JSON.stringify(body) });
}
