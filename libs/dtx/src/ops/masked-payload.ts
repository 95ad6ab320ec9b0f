/** Stands for a hidden value. */
export const MASK = '***';
const LEVELS_MAX = 60;

/**
 * Business data for operators, with the values of secret fields hidden. A field is secret if its name contains one of
 * `fields`, whatever its case, and without regard to `_` and `-`.
 * @returns text. Data that is not JSON is hidden as a whole, since it has no field names
 */
export function maskedPayload(text: string, fields: readonly string[]): string {
  const secret = fields.map(plain).filter((word) => word !== '');
  const isSecret = (name: string) => secret.some((word) => plain(name).includes(word));
  try {
    return JSON.stringify(masked(JSON.parse(text), isSecret, 0), null, 2);
  } catch {
    return MASK;
  }
}

/** A text may be JSON of its own, as the message in a row that could not be checked. */
function maskedText(text: string, isSecret: (name: string) => boolean, level: number): string {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.stringify(masked(JSON.parse(text), isSecret, level + 1));
  } catch {
    return text;
  }
}

const plain = (name: string) => name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '');

function masked(value: unknown, isSecret: (name: string) => boolean, level: number): unknown {
  if (typeof value === 'string') return maskedText(value, isSecret, level);
  if (typeof value !== 'object' || value === null) return value;
  if (level >= LEVELS_MAX) return MASK;
  if (Array.isArray(value)) return value.map((one) => masked(one, isSecret, level + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, isSecret(name) ? MASK : masked(one, isSecret, level + 1)]),
  );
}
