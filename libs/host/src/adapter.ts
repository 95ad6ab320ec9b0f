/** The web framework, set up so that even what never reaches a controller is answered as problem details. */
import type { Socket } from 'node:net';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { traceparentFrom, withTraceparent } from 'nest-dtx';
import type { Calls } from './calls.js';
import type { HttpReply, HttpRequest } from './http.js';
import { problemOf } from './problem.js';
import type { RouteTable } from './route-table.js';

/** The largest request of ours is below 3 KiB. */
const BODY_BYTES_MAX = 64 * 1024;
/** 64 characters of four bytes, each byte written as %XX, and some room. */
const PATH_PARAMETER_CHARS_MAX = 1_024;
/** How long a caller may take to send a request. */
const REQUEST_TIMEOUT_MS = 30_000;
const IDLE_SWEEP_MS = 50;

/** The adapter of an app. Every route that is added to it is also added to `routes`, and every call is counted in `calls`. */
export function createAdapter(routes: RouteTable, calls: Calls): FastifyAdapter {
  const adapter = new FastifyAdapter({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    routerOptions: { maxParamLength: PATH_PARAMETER_CHARS_MAX },
    frameworkErrors: (error: Error, request: unknown, reply: unknown) =>
      answerFrameworkError(error, request as HttpRequest, reply as HttpReply),
    clientErrorHandler: answerBrokenRequest,
    // What still comes on an open connection is answered like any other call, and is the last on it: see below.
    return503OnClosing: false,
  });
  const fastify = adapter.getInstance();
  fastify.addHook('onRoute', (route) => routes.add(route.method, route.url));
  // JSON is all that is understood: any other type of body is a 415.
  fastify.removeContentTypeParser('text/plain');
  countCalls(adapter, calls);
  letConnectionsEnd(adapter, calls);
  keepSignedBodies(adapter);
  traceCalls(adapter);
  return adapter;
}

/** Each call belongs to its caller's trace or begins one. After the body was read: that leaves the context it came in. */
function traceCalls(adapter: FastifyAdapter): void {
  adapter.getInstance().addHook('preValidation', (request, _reply, done) => {
    withTraceparent(traceparentFrom(request.headers.traceparent), done);
  });
}

/** A signature is over the bytes that came: what JSON makes of them may be written in another way. */
function keepSignedBodies(adapter: FastifyAdapter): void {
  adapter.getInstance().addHook('preParsing', (request, _reply, payload, done) => {
    if (request.headers['webhook-signature'] !== undefined) {
      const chunks: Buffer[] = [];
      let bytes = 0;
      // Heard beside the parser, which refuses what is larger, and may have the stream decode its bytes to text.
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
  fastify.addHook('onRequest', (_request, reply, done) => {
    calls.begun();
    // Also of a call whose caller has hung up.
    reply.raw.once('close', () => calls.ended());
    done();
  });
}

/** A stop waits for open connections, and callers keep theirs open: each ends with the answer that is under way on it. */
function letConnectionsEnd(adapter: FastifyAdapter, calls: Calls): void {
  const fastify = adapter.getInstance();
  // Nothing was asked on these yet: browsers and pools open them ahead, and to the server they are not even idle.
  const silent = new Set<Socket>();
  fastify.server.on('connection', (socket: Socket) => {
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  });
  fastify.server.on('request', ({ socket }: { socket: Socket }) => silent.delete(socket));
  fastify.addHook('preClose', (done) => {
    for (const socket of silent) socket.destroy();
    // For answers whose head was written just before.
    const sweep = setInterval(() => fastify.server.closeIdleConnections(), IDLE_SWEEP_MS);
    fastify.server.once('close', () => clearInterval(sweep));
    done();
  });
  fastify.addHook('onSend', (_request, reply, _payload, done) => {
    if (calls.areEnding) reply.header('connection', 'close');
    done();
  });
}

/** A path that cannot be decoded or is too long: no route was looked for yet. */
function answerFrameworkError(error: Error, request: HttpRequest, reply: HttpReply): void {
  const { problem, headers } = problemOf(error);
  reply
    .status(problem.status)
    .headers({ ...headers, 'content-type': 'application/problem+json; charset=utf-8' })
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

/** What is no HTTP request at all, or one with too large a head: there is no request or reply, only the socket. */
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
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\ncontent-type: application/problem+json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
