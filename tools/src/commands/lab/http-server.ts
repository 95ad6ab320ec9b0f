// The HTTP server of the lab: its page without a token, everything else with it.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../../cli/error-text.js';
import { OperatorError } from '../../cli/operator-error.js';
import { Access } from './access.js';
import { LabError } from './lab-error.js';
import { type PageFile, pageFiles } from './page-files.js';

const BODY_MAX_BYTES = 16_384;
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

/** Answers with a value, which becomes JSON. */
export type Route = (body: unknown) => unknown;
/** By method and path, such as `GET /api/status`. */
export type Routes = Readonly<Record<string, Route>>;
/** Takes a request itself, or returns null. */
export type PassOn = (url: URL, request: IncomingMessage, response: ServerResponse) => Promise<void> | null;

export interface LabServerOptions {
  readonly token: string;
  readonly port: number;
  readonly host?: string;
  readonly routes: Routes;
  readonly passOn: PassOn;
}

export class LabHttpServer {
  private readonly server: Server;
  private readonly access: Access;
  private readonly files: ReadonlyMap<string, PageFile> = pageFiles();

  private constructor(private readonly options: LabServerOptions) {
    this.access = new Access(options.token);
    this.server = createServer((request, response) => void this.take(request, response));
  }

  static async start(options: LabServerOptions): Promise<LabHttpServer> {
    const started = new LabHttpServer(options);
    const { server } = started;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(new OperatorError(`the lab cannot listen on port ${options.port}: ${error.message}; set DTX_LAB_PORT`)),
      );
      server.listen(options.port, options.host ?? '127.0.0.1', resolve);
    });
    return started;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  /** Cuts off what is under way: a page asks again, and finds nothing. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('x-content-type-options', 'nosniff');
    response.setHeader('referrer-policy', 'no-referrer');
    try {
      this.access.checkHost(request);
      await this.answer(request, response);
    } catch (error) {
      if (response.headersSent) return void response.destroy();
      const status = error instanceof LabError ? error.status : 500;
      // The rest of a large body is not read.
      if (status === 413) response.setHeader('connection', 'close');
      sendJson(response, status, { detail: messageOf(error) });
    }
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://lab');
    if (!/^\/(api|apps)\//.test(url.pathname)) return this.sendFile(url.pathname, request, response);
    this.access.checkToken(request);
    const passed = this.options.passOn(url, request, response);
    if (passed) return passed;
    const { routes } = this.options;
    const route = Object.hasOwn(routes, `${request.method} ${url.pathname}`)
      ? routes[`${request.method} ${url.pathname}`]
      : undefined;
    if (!route) throw unknownPath(url.pathname, routes);
    const body = request.method === 'POST' ? await readJson(request) : undefined;
    sendJson(response, request.method === 'POST' ? 202 : 200, await route(body));
  }

  private sendFile(path: string, { method }: IncomingMessage, response: ServerResponse): void {
    if (method !== 'GET' && method !== 'HEAD') throw new LabError(405, 'files are only read: use GET');
    if (this.files.size === 0) throw new LabError(404, 'the page of the lab is not built; run "npm run build"');
    const file = this.files.get(path);
    if (!file) throw new LabError(404, `unknown file ${path}; the lab is at /`);
    response.writeHead(200, {
      'content-type': file.type,
      'content-security-policy': POLICY,
      'cache-control': path === '/' ? 'no-cache' : 'public, max-age=31536000, immutable',
    });
    response.end(method === 'HEAD' ? undefined : file.body);
  }
}

function unknownPath(path: string, routes: Routes): LabError {
  const methods = Object.keys(routes).filter((name) => name.endsWith(` ${path}`));
  if (methods.length > 0)
    return new LabError(405, `use ${methods.map((name) => name.split(' ')[0]).join(' or ')} ${path}`);
  return new LabError(404, `unknown path ${path}; known: ${Object.keys(routes).join(', ')}`);
}

/** A form of another site can send no JSON. */
async function readJson(request: IncomingMessage): Promise<unknown> {
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? ''))
    throw new LabError(415, 'send the body as JSON, with content-type: application/json');
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += (part as Buffer).length;
    if (bytes > BODY_MAX_BYTES) throw new LabError(413, `the body has more than ${BODY_MAX_BYTES} bytes`);
    parts.push(part as Buffer);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString() || '{}');
  } catch {
    throw new LabError(400, 'the body is not JSON');
  }
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
  response.end(JSON.stringify(value ?? {}));
}
