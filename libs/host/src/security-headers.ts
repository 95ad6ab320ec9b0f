/** Headers of every answer. They keep a browser from guessing types, and from running or framing what an app answers. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
};

const { 'content-security-policy': _, ...FOR_PAGES } = SECURITY_HEADERS;

/** The page of the API document loads scripts and styles, so it has no content security policy. */
export function headersFor(url: string): Readonly<Record<string, string>> {
  return /^\/docs(?=[/?]|$)/.test(url) ? FOR_PAGES : SECURITY_HEADERS;
}
