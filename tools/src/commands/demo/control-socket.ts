// The control socket of the running demo. Other commands ask the demo over it to restart an app. Only the owner of the
// socket can open it. One JSON value per line: each request is answered under its id, and every client gets all events.
import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { codeOf, messageOf } from '../../cli/error-text.js';
import { OperatorError } from '../../cli/operator-error.js';
import type { AppEvent } from '../../process/supervisor.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { App } from '../../servers/server-set.js';

export interface DemoStatus {
  readonly urls: Record<App, string>;
  readonly sandbox: Sandbox;
  /** Of the administrator. */
  readonly token: string;
  readonly isServing: boolean;
}

interface AppRequest {
  readonly app: App;
}
interface RestartRequest extends AppRequest {
  readonly env: NodeJS.ProcessEnv;
  readonly holdMs: number;
}

/** What a client may ask for, with request and answer. */
export interface Actions {
  status(request: object): Promise<DemoStatus>;
  restart(request: RestartRequest): Promise<{ pid: number }>;
  startSecond(request: AppRequest): Promise<{ pid: number; url: string }>;
  stopSecond(request: AppRequest): Promise<void>;
  kill(request: AppRequest): Promise<void>;
}
type Action = keyof Actions;
type AnswerTo<A extends Action> = Awaited<ReturnType<Actions[A]>>;

type Request = { id: number; do: Action } & RestartRequest;
interface Line {
  id: number;
  event?: AppEvent;
  result?: unknown;
  failure?: string;
}

// The kernel's limit for the path of a socket is 107 bytes on Linux and 103 on others.
const LONGEST_PATH = 100;

/** Where the socket of a demo lies. */
export const socketPathOf = (dir: string): string => join(dir, 'control.sock');

/** npm runs its commands inside the clone, and from there the path is short enough for the kernel. */
function shortened(path: string): string {
  const inside = relative(process.cwd(), path);
  if (Buffer.byteLength(path) <= LONGEST_PATH) return path;
  if (Buffer.byteLength(inside) <= LONGEST_PATH) return inside;
  throw new OperatorError(`${path} is too long for a socket: run the command inside the clone`);
}

export interface ControlServer {
  tell(event: AppEvent): void;
  close(): void;
}

export async function listen(path: string, actions: Actions): Promise<ControlServer> {
  const address = shortened(path);
  rmSync(path, { force: true });
  const clients = new Set<Socket>();
  const server = createServer((socket) => {
    clients.add(socket);
    socket.on('close', () => clients.delete(socket));
    socket.on('error', () => socket.destroy());
    createInterface({ input: socket })
      .on('line', (line) => void answer(socket, actions, line))
      .on('error', () => {});
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(address, resolve));
  chmodSync(path, 0o600);
  return {
    tell: (event) => {
      for (const socket of clients) socket.write(`${JSON.stringify({ event })}\n`);
    },
    close: () => {
      server.close();
      for (const socket of clients) socket.destroy();
      rmSync(path, { force: true });
    },
  };
}

async function answer(socket: Socket, actions: Actions, line: string): Promise<void> {
  let id: number | null = null;
  try {
    const request = JSON.parse(line) as Request;
    id = request.id;
    if (!Object.hasOwn(actions, request.do))
      throw new Error(`the running demo does not know ${JSON.stringify(request.do)}; restart npm run demo`);
    const result = await actions[request.do](request);
    socket.write(`${JSON.stringify({ id, result: result ?? {} })}\n`);
  } catch (error) {
    if (!socket.destroyed) socket.write(`${JSON.stringify({ id, failure: messageOf(error) })}\n`);
  }
}

export interface ControlClient {
  ask<A extends Action>(action: A, request?: Parameters<Actions[A]>[0]): Promise<AnswerTo<A>>;
  close(): void;
}

/** The other end of the socket. `onEvent` gets every change of an app. */
export async function callControl(path: string, onEvent: (event: AppEvent) => void): Promise<ControlClient> {
  const socket = connect(shortened(path));
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject)).catch(
    (error: unknown) => {
      throw new OperatorError(
        `the demo does not answer (${codeOf(error)}): stop it with Ctrl-C and start it again with "npm run demo"`,
      );
    },
  );
  const waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  socket.on('error', () => {});
  const ended = () => new OperatorError('the demo has ended meanwhile');
  socket.on('close', () => {
    for (const { reject } of waiting.values()) reject(ended());
  });
  createInterface({ input: socket }).on('line', (line) => {
    const { id, event, result, failure } = JSON.parse(line) as Line;
    if (event) return onEvent(event);
    const asked = waiting.get(id);
    waiting.delete(id);
    if (failure) asked?.reject(new OperatorError(failure));
    else asked?.resolve(result);
  });
  let lastId = 0;
  const ask = <A extends Action>(action: A, request: object = {}) =>
    new Promise<AnswerTo<A>>((resolve, reject) => {
      // A destroyed socket emits nothing more, so the request would never end.
      if (socket.destroyed) return reject(ended());
      lastId += 1;
      waiting.set(lastId, { resolve: (result) => resolve(result as AnswerTo<A>), reject });
      socket.write(`${JSON.stringify({ id: lastId, do: action, ...request })}\n`);
    });
  return { ask, close: () => void socket.end() };
}
