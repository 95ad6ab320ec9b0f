// The running demo's ear: other commands ask it, over a socket that only its owner can open, to restart an app. One JSON
// value per line; each request is answered under its id, and what happens to the apps is told to everybody.
import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { OperatorError } from '../command/entry.mjs';

// The kernel's limit for the path of a socket is 107 bytes on Linux and 103 on others.
const LONGEST_PATH = 100;

/** Where the socket of a demo lies. */
export const socketPathOf = (dir) => join(dir, 'control.sock');

/** The path as the kernel takes it: npm runs its commands inside the clone, and from there it is short. */
function shortened(path) {
  const inside = relative(process.cwd(), path);
  if (Buffer.byteLength(path) <= LONGEST_PATH) return path;
  if (Buffer.byteLength(inside) <= LONGEST_PATH) return inside;
  throw new OperatorError(`${path} is too long for a socket: run the command inside the clone`);
}

/**
 * @param {string} path
 * @param {Record<string, (request: object) => Promise<object>>} actions by the name that a request's `do` gives
 */
export async function listen(path, actions) {
  const address = shortened(path);
  rmSync(path, { force: true });
  const clients = new Set();
  const server = createServer((socket) => {
    clients.add(socket);
    socket.on('close', () => clients.delete(socket));
    socket.on('error', () => socket.destroy());
    createInterface({ input: socket })
      .on('line', (line) => void answer(socket, actions, line))
      .on('error', () => {});
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(address, resolve));
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

async function answer(socket, actions, line) {
  let id = null;
  try {
    const request = JSON.parse(line);
    id = request.id;
    if (!Object.hasOwn(actions, request.do)) throw new Error(`cannot do ${JSON.stringify(request.do)}`);
    const result = await actions[request.do](request);
    socket.write(`${JSON.stringify({ id, result: result ?? {} })}\n`);
  } catch (error) {
    if (!socket.destroyed) socket.write(`${JSON.stringify({ id, failure: error.message })}\n`);
  }
}

/**
 * The other end. `ask(action, more)` resolves with the demo's answer; `onEvent` hears what happens to the apps.
 * @param {string} path
 * @param {(event: { kind: string, app: string, pid: number, at: number }) => void} onEvent
 */
export async function callControl(path, onEvent) {
  const socket = connect(shortened(path));
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject)).catch((error) => {
    throw new OperatorError(
      `the demo does not answer (${error.code}): stop it with Ctrl-C and start it again with "npm run demo"`,
    );
  });
  const waiting = new Map();
  socket.on('error', () => {});
  socket.on('close', () => {
    for (const { reject } of waiting.values()) reject(new OperatorError('the demo has ended meanwhile'));
  });
  createInterface({ input: socket }).on('line', (line) => {
    const { id, event, result, failure } = JSON.parse(line);
    if (event) return onEvent(event);
    const asked = waiting.get(id);
    waiting.delete(id);
    if (failure) asked?.reject(new OperatorError(failure));
    else asked?.resolve(result);
  });
  let lastId = 0;
  const ask = (action, more = {}) =>
    new Promise((resolve, reject) => {
      lastId += 1;
      waiting.set(lastId, { resolve, reject });
      socket.write(`${JSON.stringify({ id: lastId, do: action, ...more })}\n`);
    });
  return { ask, close: () => socket.end() };
}
