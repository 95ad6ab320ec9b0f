/** The price list of the shop, in integer cents. Every app has the same list. */

const NUMBERED_ITEMS = 1000;

const prices: ReadonlyMap<string, number> = new Map([
  ['book', 1_999],
  ['phone', 299_900],
  ['mug', 990],
  // Many equal items, so that a load test can spread over skus instead of waiting for the lock of one row.
  ...Array.from({ length: NUMBERED_ITEMS }, (_, i): [string, number] => [
    `item-${String(i + 1).padStart(4, '0')}`,
    100,
  ]),
]);

/** Every sku with its price, in catalog order. */
export const priceList: readonly { sku: string; price: number }[] = [...prices].map(([sku, price]) => ({ sku, price }));

/** The price of one piece in cents, or undefined for a sku that is not on the list. */
export function priceOf(sku: string): number | undefined {
  return prices.get(sku);
}

/** True for a sku on the price list. */
export function isSold(sku: string): boolean {
  return prices.has(sku);
}
