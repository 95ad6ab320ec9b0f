/** What the shop sells and for how much, in integer minor units (cents). The same list in every app. */

const NUMBERED_ITEMS = 1000;

const prices: ReadonlyMap<string, number> = new Map([
  ['book', 1_999],
  ['phone', 299_900],
  ['mug', 990],
  // Many equal things, so that a load can spread over skus instead of queueing for one row's lock.
  ...Array.from({ length: NUMBERED_ITEMS }, (_, i): [string, number] => [
    `item-${String(i + 1).padStart(4, '0')}`,
    100,
  ]),
]);

/** Every sku with its price, in the order in which a catalog shows them. */
export const priceList: readonly { sku: string; price: number }[] = [...prices].map(([sku, price]) => ({ sku, price }));

/** The price of one piece in cents; undefined for a sku that the shop does not sell. */
export function priceOf(sku: string): number | undefined {
  return prices.get(sku);
}

/** True for a sku on the price list. */
export function isSold(sku: string): boolean {
  return prices.has(sku);
}
