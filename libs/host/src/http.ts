/** The little that the apps use of the web framework's requests and replies. */
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface HttpRequest {
  readonly method: string;
  /** Path and query, as sent. */
  readonly url: string;
  readonly protocol: 'http' | 'https';
  /** The `Host` header; empty when an old client sent none. */
  readonly host: string;
  readonly headers: IncomingMessage['headers'];
  /** True when no route matched. */
  readonly is404: boolean;
  readonly raw: IncomingMessage;
  /** The body byte for byte, of requests that carry a signature over it. */
  readonly rawBody?: Buffer;
}

export interface HttpReply {
  readonly sent: boolean;
  readonly raw: ServerResponse;
  status(code: number): HttpReply;
  header(name: string, value: string): HttpReply;
  headers(values: Record<string, string>): HttpReply;
  send(body?: string): HttpReply;
}

/** Aborted when the caller hangs up before the answer is complete, so that nobody keeps working for a gone caller. */
export function goneSignal(reply: HttpReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableEnded) gone.abort();
  });
  return gone.signal;
}

/** `path` as an absolute URL at the address by which the caller reached this app. */
export function absoluteUrl(request: HttpRequest, path: string): string {
  const base = `${request.protocol}://${request.host}`;
  if (request.host !== '' && URL.canParse(base)) return `${new URL(base).origin}${path}`;
  const { localAddress = '127.0.0.1', localPort } = request.raw.socket;
  return `${request.protocol}://${localAddress.includes(':') ? `[${localAddress}]` : localAddress}:${localPort}${path}`;
}
