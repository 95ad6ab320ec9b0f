/** The parts of the web framework's requests and replies that the apps use. */
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface HttpRequest {
  readonly method: string;
  /** Path and query, as sent. */
  readonly url: string;
  readonly protocol: 'http' | 'https';
  /** The `Host` header, or empty without one. */
  readonly host: string;
  /** Address of the caller. Behind a trusted proxy it is the address that the proxy names. */
  readonly ip: string;
  /** Base of the URLs in answers, if the app has one. */
  readonly publicUrl?: string | undefined;
  readonly headers: IncomingMessage['headers'];
  /** The path pattern of the route, such as `/orders/:id`. */
  readonly routeOptions: { readonly url?: string | undefined };
  /** True if no route matched. */
  readonly is404: boolean;
  readonly raw: IncomingMessage;
  /** The body byte for byte, only for requests with the header `webhook-signature`. */
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
