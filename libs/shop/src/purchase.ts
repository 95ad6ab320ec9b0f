/** A purchase as the outside sees it: the body that asks for one, and the view that answers. */
import { z } from 'zod';
import { isSold, priceOf } from './prices.js';

/** The most that a purchase may cost and an account may hold, in cents. Far below 2^53, so numbers stay exact. */
export const AMOUNT_MAX = 1_000_000_000_000;

/** The most pieces of one sku in one purchase. */
export const QUANTITY_MAX = 1_000;

/** The most pieces of one sku that may be on the shelf. */
export const AVAILABLE_MAX = 1_000_000_000;

const NAME_CHARS_MAX = 64;
const NOTIFY_URL_CHARS_MAX = 2_048;

/** The ways to make a purchase. */
export const SCHEMES = ['local-message', 'xa', 'tcc', 'half-message'] as const;
export type Scheme = (typeof SCHEMES)[number];

/** An order's states: PENDING moves once, to one of the other two. */
export const ORDER_STATUSES = ['PENDING', 'CONFIRMED', 'CANCELLED'] as const;
export type OrderStatus = (typeof ORDER_STATUSES)[number];

/** Why a purchase was cancelled. */
export const REASONS = ['OUT_OF_STOCK', 'INSUFFICIENT_FUNDS', 'UNKNOWN_BUYER', 'TIMEOUT'] as const;
export type Reason = (typeof REASONS)[number];

/** A refusal's reason as the outside knows it. A person who rejects what got stuck gives none of the list: its time is up. */
export function reasonOf(no: { reason: string }): Reason {
  return REASONS.find((reason) => reason === no.reason) ?? 'TIMEOUT';
}

/** NUL is no text for a database client, and a lone surrogate has no UTF-8 form: both would come back as other names. */
function isStorable(text: string): boolean {
  return !/\0|[\uD800-\uDFFF]/u.test(text);
}

/**
 * A buyer's or sku's name: 1 to 64 characters, counted as people and SQL count them (an emoji is one, not two).
 * Compared byte by byte everywhere, so "alice", "Alice" and "alice " are three names.
 */
export const name = z
  .string()
  .min(1, 'must not be empty')
  .refine((text) => [...text].length <= NAME_CHARS_MAX, `must have at most ${NAME_CHARS_MAX} characters`)
  .refine(isStorable, 'must not contain NUL or half of a surrogate pair')
  .meta({ minLength: 1, maxLength: NAME_CHARS_MAX });

/** A name that is on the price list. */
export const soldSku = name
  .refine(isSold, 'is not on the price list: see GET /catalog of the order app')
  .meta({ example: 'book' });

/** Where the merchant wants to hear of the result. */
export const notifyUrl = z
  .url({ protocol: /^https?$/, error: 'must be an absolute http or https URL' })
  .max(NOTIFY_URL_CHARS_MAX)
  .refine((url) => !/\s/.test(url), 'must not contain white space')
  .refine(isStorable, 'must not contain NUL or half of a surrogate pair');

export const quantity = z.int().min(1).max(QUANTITY_MAX);

/** Integer cents, as balances and amounts are. */
export const cents = z.int().min(0).max(AMOUNT_MAX);

/** The body of every call that starts a purchase. Unknown fields are refused: a misspelt one must not be dropped. */
export const purchaseBody = z
  .strictObject({
    buyerId: name.meta({ example: 'alice' }),
    sku: soldSku,
    quantity,
    notifyUrl: notifyUrl.optional(),
  })
  .meta({ title: 'PurchaseRequest', example: { buyerId: 'alice', sku: 'book', quantity: 1 } });
export type PurchaseBody = z.infer<typeof purchaseBody>;

/** A purchase as every app answers it. Times are ISO 8601 in UTC, by the clock of the database where it was begun or settled. */
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

/** True for what can be an order's id at all: a UUID in its usual form. Anything else is not worth a query. */
export function isOrderId(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);
}

/** What a purchase costs in cents. The body must have been checked: an unknown sku here is a programmer's error. */
export function amountOf(wanted: Pick<PurchaseBody, 'sku' | 'quantity'>): number {
  const price = priceOf(wanted.sku);
  if (price === undefined) throw new Error(`"${wanted.sku}" has no price: check a purchase with purchaseBody first`);
  return price * wanted.quantity;
}
