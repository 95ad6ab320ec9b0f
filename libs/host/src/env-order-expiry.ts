import { z } from 'zod';

/** 30 minutes. */
export const ORDER_EXPIRY_MS = 1_800_000;
const DAY_MS = 86_400_000;
const EXPECTED = `must be a whole number of milliseconds, 1000 to ${400 * DAY_MS} (400 days), or 0 for no expiry`;

/** The time after which the order app gives up a PENDING order, or 0 for never. */
export const orderExpiryMs = z
  .string()
  .regex(/^(0|\d{4,11})$/, EXPECTED)
  .transform(Number)
  .refine((number) => (number === 0 || number >= 1_000) && number <= 400 * DAY_MS, EXPECTED);
