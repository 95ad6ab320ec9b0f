/** Sets up the web framework. Requests that never reach a controller are answered as problem details as well. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { traceparentFrom, withTraceparent } from 'nest-dtx';
import type { RouteTable } from './allowed-methods.js';
import type { HttpReply, HttpRequest } from './http-request-reply.js';
import { ANNOUNCED_IDLE_S, type Calls } from './in-flight-requests.js';
import { problemOf, UnsupportedEncoding } from './problem.js';
import { headersFor, SECURITY_HEADERS } from './security-headers.js';

/** Bound on a request body. Valid requests have less than 3 KiB. */
const BODY_BYTES_MAX = 64 * 1024;
/** Bound on a path parameter: 64 characters of four bytes, each byte written as %XX, and some margin. */
const PATH_PARAMETER_CHARS_MAX = 1_024;
/** Time limit for a caller to send a request. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Interval of the look for late requests. Node's default is 30 s, which would treble the time limit. */
const LATE_LOOK_MS = 1_000;
const IDLE_SWEEP_MS = 50;

/** Settings of the adapter that depend on the environment of the app. */
export interface AdapterSettings {
  /** Proxies whose `X-Forwarded-*` headers count. */
  readonly trustProxy: readonly string[];
  readonly publicUrl?: string | undefined;
  readonly requestTimeoutMs?: number;
}

/** Creates the adapter of an app. It adds every route to `routes` and counts every call in `calls`. */
export function createAdapter(routes: RouteTable, calls: Calls, settings: AdapterSettings): FastifyAdapter {
  const { trustProxy, publicUrl, requestTimeoutMs = REQUEST_TIMEOUT_MS } = settings;
  const adapter = new FastifyAdapter({
    bodyLimit: BODY_BYTES_MAX,
    trustProxy: trustProxy.length > 0 ? [...trustProxy] : false,
    requestTimeout: requestTimeoutMs,
    http: { headersTimeout: requestTimeoutMs, connectionsCheckingInterval: LATE_LOOK_MS },
    routerOptions: { maxParamLength: PATH_PARAMETER_CHARS_MAX },
    frameworkErrors: (error: Error, request: unknown, reply: unknown) =>
      answerFrameworkError(error, request as HttpRequest, reply as HttpReply),
    clientErrorHandler: answerBrokenRequest,
    // During a stop, a request on an open connection is answered as usual. See `letConnectionsEnd`.
    return503OnClosing: false,
  });
  const fastify = adapter.getInstance();
  fastify.addHook('onRoute', (route) => routes.add(route.method, route.url));
  // Only JSON bodies are accepted. Any other content type is answered 415.
  fastify.removeContentTypeParser('text/plain');
  fastify.decorateRequest('publicUrl', publicUrl);
  refuseEncodings(adapter);
  secure(adapter);
  countCalls(adapter, calls);
  letConnectionsEnd(adapter, calls);
  keepSignedBodies(adapter);
  traceCalls(adapter);
  return adapter;
}

/** Answers 415 for an encoded body. Without a decoder its bytes would count as JSON. The hook runs before the body is read. */
function refuseEncodings(adapter: FastifyAdapter): void {
  adapter.getInstance().addHook('preParsing', (request, _reply, payload, done) => {
    const encoding = request.headers['content-encoding'] ?? 'identity';
    if (encoding.trim().toLowerCase() === 'identity') done(null, payload);
    else done(new UnsupportedEncoding());
  });
}

/** Adds the security headers to every answer. */
function secure(adapter: FastifyAdapter): void {
  adapter.getInstance().addHook('onSend', (request, reply, _payload, done) => {
    // The console has a policy of its own.
    for (const [name, value] of Object.entries(headersFor(request.url)))
      if (!reply.hasHeader(name)) reply.header(name, value);
    done();
  });
}

/** Joins the trace of the caller or begins one. The hook runs after the body is read, since reading loses the context. */
function traceCalls(adapter: FastifyAdapter): void {
  adapter.getInstance().addHook('preValidation', (request, _reply, done) => {
    withTraceparent(traceparentFrom(request.headers.traceparent), done);
  });
}

/** Keeps the raw body of signed requests, since a signature covers the exact bytes. */
function keepSignedBodies(adapter: FastifyAdapter): void {
  adapter.getInstance().addHook('preParsing', (request, _reply, payload, done) => {
    if (request.headers['webhook-signature'] !== undefined) {
      const chunks: Buffer[] = [];
      let bytes = 0;
      // The parser reads the same stream. It refuses larger bodies, and may switch the stream to text chunks.
      payload.on('data', (chunk: Buffer | string) => {
        bytes += chunk.length;
        if (bytes <= BODY_BYTES_MAX) chunks.push(Buffer.from(chunk as string));
      });
      payload.once('end', () => Object.assign(request, { rawBody: Buffer.concat(chunks) }));
    }
    done(null, payload);
  });
}

function countCalls(adapter: FastifyAdapter, calls: Calls): void {
  const fastify = adapter.getInstance();
  fastify.server.on('connection', (socket: Socket) => calls.opened(socket));
  fastify.addHook('onRequest', (request, reply, done) => {
    const { socket } = request.raw;
    calls.begun();
    // `close` is emitted even if the caller has closed the connection early.
    reply.raw.once('close', () => calls.ended(socket));
    done();
  });
}

/** Makes connections end during a stop, which waits for them. Each connection closes with its current answer. */
function letConnectionsEnd(adapter: FastifyAdapter, calls: Calls): void {
  const fastify = adapter.getInstance();
  // Connections without a request yet. Browsers and pools open them ahead, and the server does not count them as idle.
  const silent = new Set<Socket>();
  fastify.server.on('connection', (socket: Socket) => {
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  });
  fastify.server.on('request', ({ socket }: { socket: Socket }) => silent.delete(socket));
  fastify.addHook('preClose', (done) => {
    for (const socket of silent) socket.destroy();
    // Covers answers whose head was written before the stop, without `connection: close`.
    const sweep = setInterval(() => fastify.server.closeIdleConnections(), IDLE_SWEEP_MS);
    fastify.server.once('close', () => clearInterval(sweep));
    done();
  });
  fastify.addHook('onSend', (request, reply, _payload, done) => {
    if (calls.areEnding) reply.header('connection', 'close');
    else if (isKept(request.raw) && !reply.hasHeader('connection'))
      reply.headers({ connection: 'keep-alive', 'keep-alive': `timeout=${ANNOUNCED_IDLE_S}` });
    done();
  });
}

/** Whether the caller keeps the connection. Older callers than HTTP/1.1 have to ask for it. */
function isKept({ headers, httpVersion }: IncomingMessage): boolean {
  return httpVersion === '1.1' && headers.connection?.toLowerCase() !== 'close';
}

/** Answers a request whose path cannot be decoded or is too long. It fails before routing. */
function answerFrameworkError(error: Error, request: HttpRequest, reply: HttpReply): void {
  const { problem, headers } = problemOf(error);
  reply
    .status(problem.status)
    .headers({ ...headers, ...SECURITY_HEADERS, 'content-type': 'application/problem+json; charset=utf-8' })
    .send(
      JSON.stringify({ ...problem, detail: 'the path is malformed or too long', instance: request.url.slice(0, 200) }),
    );
}

const BROKEN_REQUESTS: Record<string, { status: number; title: string; detail: string }> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    title: 'Request Header Fields Too Large',
    detail: 'path or headers are too large',
  },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, title: 'Request Timeout', detail: 'the request took too long to arrive' },
};

/** Answers input that is not an HTTP request or whose head is too large. Only the socket exists. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const { status, title, detail } = BROKEN_REQUESTS[error.code ?? ''] ?? {
    status: 400,
    title: 'Bad Request',
    detail: 'this is not an HTTP request',
  };
  const body = JSON.stringify({ type: 'about:blank', title, status, detail });
  const secure = Object.entries(SECURITY_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\ncontent-type: application/problem+json; charset=utf-8\r\n${secure.join('')}` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
