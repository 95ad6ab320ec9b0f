// A closed loop of callers over kept connections. Each caller asks again as soon as it has its answer.
import { Agent, request } from 'node:http';
import type { Case } from './cases.js';

/** Skus and buyers of the price list, `item-0001` to `item-1000`. */
export const ITEMS = 1_000;
export const skuOf = (n: number) => `item-${String((n % ITEMS) + 1).padStart(4, '0')}`;
export const buyerOf = (n: number) => `buyer-${n % ITEMS}`;

const TIMEOUT_MS = 60_000;

export interface Asked {
  readonly orderId: string;
  /** Wall clock in milliseconds, the clock that the database servers of this machine have too. */
  readonly askedAt: number;
  readonly answerMs: number;
}

/** Makes the purchases of a case. @throws for an answer that is not a purchase: the shop has everything */
export async function makePurchases(
  { concurrency, purchases, skus }: Case,
  url: string,
  notifyUrl: string | null,
): Promise<Asked[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  const asked: Asked[] = [];
  let next = 0;
  const caller = async () => {
    while (next < purchases) {
      const n = next++;
      const wanted = { buyerId: buyerOf(n), sku: skus === 'hot' ? skuOf(0) : skuOf(n * 7), quantity: 1 };
      const body = JSON.stringify(notifyUrl === null ? wanted : { ...wanted, notifyUrl });
      asked.push(await ask(agent, url, body));
    }
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, caller));
    return asked;
  } finally {
    agent.destroy();
  }
}

/** One purchase. @throws for an answer that is not a purchase */
export function ask(agent: Agent, url: string, body: string): Promise<Asked> {
  const askedAt = Date.now();
  const since = performance.now();
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request(url, { method: 'POST', agent, headers, timeout: TIMEOUT_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', reject);
      response.on('end', () => {
        const answerMs = performance.now() - since;
        const { statusCode = 0 } = response;
        if (statusCode > 202) reject(new Error(`POST ${url} answered ${statusCode} ${text.slice(0, 300)}`));
        else resolve({ orderId: (JSON.parse(text) as { orderId: string }).orderId, askedAt, answerMs });
      });
    });
    sent.on('timeout', () => sent.destroy(new Error(`POST ${url} had no answer within ${TIMEOUT_MS / 1_000} s`)));
    sent.on('error', reject);
    sent.end(body);
  });
}
