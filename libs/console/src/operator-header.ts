/** A name beyond ASCII is encoded as in RFC 8187, and the app decodes it. */
export function operatorHeader(name: string): string {
  const given = name.trim() || 'console';
  return /^[ -~]+$/.test(given) && !/^UTF-8''/i.test(given) ? given : `UTF-8''${encodeURIComponent(given)}`;
}
