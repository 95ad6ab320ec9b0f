/** How an app is reached from outside: the proxies that it trusts, and its public URL. */
import { isIP } from 'node:net';
import { z } from 'zod';

/** Names of address ranges that the web framework knows. */
const RANGES = new Set(['loopback', 'linklocal', 'uniquelocal']);
const BITS = { 4: 32, 6: 128 } as Record<number, number>;

/** Proxies whose `X-Forwarded-*` headers count. Headers of any other sender are ignored. */
export const trustedProxies = z
  .string()
  .transform((text) =>
    text
      .split(',')
      .map((entry) => entry.trim())
      .filter(Boolean),
  )
  .refine(
    (list) => list.every(isProxy),
    'must be a list of addresses, CIDR ranges, loopback, linklocal or uniquelocal, separated by commas',
  );

function isProxy(entry: string): boolean {
  const [address = '', bits, ...rest] = entry.split('/');
  const family = isIP(address);
  if (bits === undefined) return family !== 0 || RANGES.has(entry);
  return (
    family !== 0 && rest.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) >= 1 && Number(bits) <= BITS[family]!
  );
}

const PUBLIC_URL = 'must be a URL like https://shop.example or https://shop.example/api';

/** Base of the URLs in answers, without a slash at its end. */
export const publicUrl = z
  .string()
  .max(2_048, PUBLIC_URL)
  .refine((text) => {
    if (!URL.canParse(text)) return false;
    const { protocol, username, password, search, hash } = new URL(text);
    return /^https?:$/.test(protocol) && [username, password, search, hash].every((part) => part === '');
  }, PUBLIC_URL)
  .transform((text) => {
    const { origin, pathname } = new URL(text);
    return `${origin}${pathname.replace(/\/+$/, '')}`;
  });
