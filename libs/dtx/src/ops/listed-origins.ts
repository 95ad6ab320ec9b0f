import type { IncomingMessage, ServerResponse } from 'node:http';

/** How long a browser may keep the answer about what it may send. */
const PREFLIGHT_SECONDS = '600';
const ALLOWED_HEADERS = 'authorization, content-type, dtx-operator, last-event-id';

/**
 * Answers browsers of other origins (CORS) for the operations API. Only listed origins may read answers. Credentials of a
 * browser, such as cookies, are never allowed. Without a list no header is added.
 */
export function allowOrigins(
  origins: readonly string[],
): (request: IncomingMessage, response: ServerResponse, next: () => void) => void {
  const listed = new Set(origins);
  return (request, response, next) => {
    const { origin } = request.headers;
    if (listed.size > 0) response.setHeader('vary', 'Origin');
    if (origin === undefined || !listed.has(origin)) return next();
    response.setHeader('access-control-allow-origin', origin);
    response.setHeader('access-control-expose-headers', 'retry-after');
    if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) return next();
    response.setHeader('access-control-allow-methods', 'GET, POST');
    response.setHeader('access-control-allow-headers', ALLOWED_HEADERS);
    response.setHeader('access-control-max-age', PREFLIGHT_SECONDS);
    response.statusCode = 204;
    response.end();
  };
}
