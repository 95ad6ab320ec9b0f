const HIDDEN = '(hidden)';
/** Names whose values are never shown, whatever they are. */
const SECRET = /token|secret|password|passphrase|credential|private|apikey/i;
const ENTRIES_MAX = 50;
const CHARS_MAX = 200;

/**
 * Options of a module for operators, without secrets. A URL shows its protocol and host only, since its user, path and query
 * may be secret. Objects of classes show their class, since they may hold connections.
 */
export function shownOptions(value: unknown, name = ''): unknown {
  if (SECRET.test(name) && value !== undefined) return HIDDEN;
  if (typeof value === 'string') return shownText(value);
  if (typeof value === 'function') return '(function)';
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    if (value.length > ENTRIES_MAX || name === 'migrations') return `(${value.length} entries)`;
    return value.map((one) => shownOptions(one, name));
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return `(${prototype?.constructor?.name ?? 'object'})`;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, shownOptions(one, key)]));
}

/** One text may have several URLs with commas, as those of a cluster. A comma may also be part of a password. */
function shownText(text: string): string {
  if (!text.includes('://')) return text.slice(0, CHARS_MAX);
  return text
    .split(/,(?=[a-z][\w+.-]*:\/\/)/i)
    .map((one) => {
      if (!URL.canParse(one.trim())) return HIDDEN;
      const { protocol, host } = new URL(one.trim());
      return host === '' ? HIDDEN : `${protocol}//${host}`;
    })
    .join(', ');
}
