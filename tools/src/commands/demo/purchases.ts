// The purchases of the demo: for every scheme the good ones and each kind of refusal.
import type { Say } from '../../cli/say-type.js';
import { formatTable } from '../../cli/table.js';
import { expectOk } from '../../shop/app-calls.js';
import { buy, type MadePurchase, type PurchaseScheme, SCHEMES, type Urls, type Wanted } from '../../shop/purchase.js';
import { showRestock } from '../../shop/restock.js';

const ALICE_CENTS = 100_000_000;
const BOB_CENTS = 500;
const STOCK = { book: 1_000, mug: 1_000, phone: 2 };

/** A row of the demo's table. */
export interface ShownPurchase extends MadePurchase {
  readonly note: string;
  readonly asExpected: boolean;
}

/** A sku that runs out, a buyer without the money, an unknown buyer: each is refused for another reason. */
const PURCHASES: ReadonlyArray<{ wanted: Wanted; status: string; reason: string }> = [
  { wanted: { buyerId: 'alice', sku: 'book', quantity: 2 }, status: 'CONFIRMED', reason: '' },
  { wanted: { buyerId: 'alice', sku: 'mug', quantity: 5 }, status: 'CONFIRMED', reason: '' },
  { wanted: { buyerId: 'alice', sku: 'phone', quantity: 3 }, status: 'CANCELLED', reason: 'OUT_OF_STOCK' },
  { wanted: { buyerId: 'bob', sku: 'book', quantity: 1 }, status: 'CANCELLED', reason: 'INSUFFICIENT_FUNDS' },
  { wanted: { buyerId: 'nobody', sku: 'mug', quantity: 1 }, status: 'CANCELLED', reason: 'UNKNOWN_BUYER' },
];

/** Opens the accounts and fills the stock. Repeated, it sets them to the same again. */
export async function setTheScene(urls: Urls): Promise<void> {
  await expectOk('PUT', `${urls.payment}/accounts/alice`, { body: { balance: ALICE_CENTS } });
  await expectOk('PUT', `${urls.payment}/accounts/bob`, { body: { balance: BOB_CENTS } });
  for (const [sku, available] of Object.entries(STOCK)) {
    await expectOk('PUT', `${urls.inventory}/stock/${sku}`, { body: { available } });
  }
}

/** Makes every purchase through every scheme, one after another, so that each has its own milliseconds. */
export async function makePurchases(
  urls: Urls,
  { say, onMade = () => {} }: { say: Say; onMade?: (row: ShownPurchase, total: number) => void },
): Promise<ShownPurchase[]> {
  const rows: ShownPurchase[] = [];
  const schemes = Object.keys(SCHEMES) as PurchaseScheme[];
  for (const scheme of schemes) {
    for (const { wanted, status, reason } of PURCHASES) {
      const made = await buy(urls, scheme, wanted);
      const row = { ...made, note: '', asExpected: made.status === status && made.reason === reason };
      rows.push(row);
      onMade(row, schemes.length * PURCHASES.length);
    }
    say(`${scheme}: ${PURCHASES.length} purchases made`);
  }
  await showRestock(urls, { say });
  return rows;
}

export function purchaseTable(rows: readonly ShownPurchase[]): string {
  const header = ['order', 'scheme', 'buyer', 'what', 'status', 'reason', 'ms', ''];
  const cells = rows.map(({ orderId, scheme, buyerId, sku, quantity, status, reason, ms, note, asExpected }) => {
    const remark = asExpected ? note : `NOT AS EXPECTED ${note}`;
    return [orderId, scheme, buyerId, `${quantity} x ${sku}`, status, reason || '-', ms, remark];
  });
  return formatTable(header, cells);
}
