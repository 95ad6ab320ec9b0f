import type { HttpRequest } from './http-request-reply.js';

/**
 * `path` as an absolute URL: below the public URL of the app, or by the `Host` header of the request, or by the address of
 * its connection.
 */
export function absoluteUrl(request: HttpRequest, path: string): string {
  if (request.publicUrl !== undefined) return `${request.publicUrl}${path}`;
  const base = `${request.protocol}://${request.host}`;
  if (request.host !== '' && URL.canParse(base)) return `${new URL(base).origin}${path}`;
  const { localAddress = '127.0.0.1', localPort } = request.raw.socket;
  return `${request.protocol}://${localAddress.includes(':') ? `[${localAddress}]` : localAddress}:${localPort}${path}`;
}
