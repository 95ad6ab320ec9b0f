// Goods and money for a purchase that is not to be refused. Without them the shop refuses it honestly.
import type { Say } from '../cli/say-type.js';
import { call, expectOk } from './app-calls.js';
import type { Urls, Wanted } from './purchase.js';

const LEAST_PIECES = 10;
const FULL_PIECES = 1_000;
const LEAST_CENTS = 10_000_000;
const FULL_CENTS = 100_000_000;

/** Fills the shelf and the account if they run low. Both calls set a value, so they can be repeated. */
export async function fillSupplies(urls: Urls, { buyerId, sku }: Wanted, { say }: { say: Say }): Promise<void> {
  const stock = `${urls.inventory}/stock/${sku}`;
  const pieces = await amountAt<{ available: number }>(stock, ({ available }) => available);
  if (pieces < LEAST_PIECES) {
    await expectOk('PUT', stock, { body: { available: FULL_PIECES } });
    say(`only ${pieces} x ${sku} were left: the shelf has ${FULL_PIECES} now, as an empty one refuses the purchase`);
  }
  const account = `${urls.payment}/accounts/${buyerId}`;
  const cents = await amountAt<{ balance: number }>(account, ({ balance }) => balance);
  if (cents < LEAST_CENTS) {
    await expectOk('PUT', account, { body: { balance: FULL_CENTS } });
    say(`${buyerId} had only ${cents} cents left: the account has ${FULL_CENTS} now, as a poor buyer is refused`);
  }
}

/** 0 if the sku or account does not exist yet. */
async function amountAt<Body>(url: string, of: (body: Body) => number): Promise<number> {
  const answer = await call<Body>('GET', url);
  if (answer.status === 404) return 0;
  if (answer.status !== 200) throw new Error(`GET ${url} answered ${answer.status} ${JSON.stringify(answer.body)}`);
  return of(answer.body);
}
