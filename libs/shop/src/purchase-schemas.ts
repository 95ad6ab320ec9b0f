/** A purchase in the HTTP API: the request body and the view in answers. */
import { z } from 'zod';
import { isSold, priceOf } from './prices.js';

/** Largest amount of a purchase and balance of an account, in cents. Far below 2^53, so numbers stay exact. */
export const AMOUNT_MAX = 1_000_000_000_000;

/** Largest quantity of one sku in one purchase. */
export const QUANTITY_MAX = 1_000;

/** Largest available stock of one sku. */
export const AVAILABLE_MAX = 1_000_000_000;

const NAME_CHARS_MAX = 64;
const NOTIFY_URL_CHARS_MAX = 2_048;

/** The schemes that can carry out a purchase. */
export const SCHEMES = ['local-message', 'xa', 'tcc', 'saga', 'half-message'] as const;
export type Scheme = (typeof SCHEMES)[number];

/** States of an order. PENDING moves once, to one of the other two. */
export const ORDER_STATUSES = ['PENDING', 'CONFIRMED', 'CANCELLED'] as const;
export type OrderStatus = (typeof ORDER_STATUSES)[number];

/** Reasons of a cancelled purchase. */
export const REASONS = ['OUT_OF_STOCK', 'INSUFFICIENT_FUNDS', 'UNKNOWN_BUYER', 'TIMEOUT'] as const;
export type Reason = (typeof REASONS)[number];

/** The API's reason for a rejection. A rejection by an operator has a reason outside the list, which counts as TIMEOUT. */
export function reasonOf(rejection: { reason: string }): Reason {
  return REASONS.find((reason) => reason === rejection.reason) ?? 'TIMEOUT';
}

/** False for texts that a database would change. NUL ends a text in some clients. A lone surrogate has no UTF-8 form. */
function isStorable(text: string): boolean {
  return !/\0|[\uD800-\uDFFF]/u.test(text);
}

/**
 * Name of a buyer or sku: 1 to 64 code points, as SQL counts characters (an emoji counts once). All apps compare names
 * byte by byte, so "alice", "Alice" and "alice " are three names.
 */
export const name = z
  .string()
  .min(1, 'must not be empty')
  .refine((text) => [...text].length <= NAME_CHARS_MAX, `must have at most ${NAME_CHARS_MAX} characters`)
  .refine(isStorable, 'must not contain NUL or half of a surrogate pair')
  .meta({ minLength: 1, maxLength: NAME_CHARS_MAX });

/** A name that is on the price list. */
export const soldSku = name
  .refine(isSold, 'is not on the price list; see GET /catalog of the order app')
  .meta({ example: 'book' });

/** Webhook URL of the merchant for the payment result. */
export const notifyUrl = z
  .url({ protocol: /^https?$/, error: 'must be an absolute http or https URL' })
  .max(NOTIFY_URL_CHARS_MAX)
  .refine((url) => !/\s/.test(url), 'must not contain white space')
  .refine(isStorable, 'must not contain NUL or half of a surrogate pair');

export const quantity = z.int().min(1).max(QUANTITY_MAX);

/** Integer cents, for balances and amounts. */
export const cents = z.int().min(0).max(AMOUNT_MAX);

/** The body of every call that starts a purchase. Unknown fields are refused, since a misspelt one must not be ignored. */
export const purchaseBody = z
  .strictObject({
    buyerId: name.meta({ example: 'alice' }),
    sku: soldSku,
    quantity,
    notifyUrl: notifyUrl.optional(),
  })
  .meta({ title: 'PurchaseRequest', example: { buyerId: 'alice', sku: 'book', quantity: 1 } });
export type PurchaseBody = z.infer<typeof purchaseBody>;

/** A purchase in the answers of all apps. Times are ISO 8601 in UTC, by the clock of the database that wrote them. */
export const purchaseView = z
  .object({
    orderId: z.uuid(),
    scheme: z.enum(SCHEMES),
    buyerId: z.string(),
    sku: z.string(),
    quantity,
    amount: cents,
    status: z.enum(ORDER_STATUSES),
    reason: z.enum(REASONS).optional(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({
    title: 'Purchase',
    example: {
      orderId: '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f',
      scheme: 'local-message',
      buyerId: 'alice',
      sku: 'book',
      quantity: 1,
      amount: 1999,
      status: 'PENDING',
      createdAt: '2026-01-31T09:15:00.123Z',
      updatedAt: '2026-01-31T09:15:00.123Z',
    },
  });
export type Purchase = z.infer<typeof purchaseView>;

/** True for a UUID in lower case. Any other text cannot be an order id and needs no query. */
export function isOrderId(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);
}

/** The amount of a purchase in cents. @throws Error for an unknown sku, since `purchaseBody` must have checked it */
export function amountOf(wanted: Pick<PurchaseBody, 'sku' | 'quantity'>): number {
  const price = priceOf(wanted.sku);
  if (price === undefined)
    throw new Error(`no price for sku "${wanted.sku}"; validate the purchase with purchaseBody first`);
  return price * wanted.quantity;
}
