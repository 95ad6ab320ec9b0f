// Just enough of the Redis protocol for readiness and for giving each world a database number of its own.
import { connect, isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { serverUrlParts } from './server-url.mjs';

/** Runs the commands one after another on one connection; resolves with their replies, rejects at the first error reply. */
export function redisCommands(url, commands, { timeoutMs = 5_000 } = {}) {
  const { protocol, host, port, user, password, path } = serverUrlParts(url);
  const auth = password ? [['AUTH', ...(user ? [user] : []), password]] : [];
  const select = path ? [['SELECT', path]] : [];
  const all = [...auth, ...select, ...commands.map((command) => command.map(String))];
  return new Promise((resolve, reject) => {
    const open = protocol === 'rediss' ? connectTls : connect;
    const socket = open({ host, port, servername: isIP(host) ? undefined : host });
    const finish = (settle, value) => {
      socket.destroy();
      settle(value);
    };
    socket.setTimeout(timeoutMs, () => finish(reject, new Error(`no answer within ${timeoutMs / 1000} s`)));
    socket.on('error', (error) => finish(reject, error));
    socket.on('close', () => reject(new Error('the connection was closed')));
    const replies = [];
    let received = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      for (let reply = parse(received, 0); reply; reply = parse(received, 0)) {
        received = received.subarray(reply.next);
        if (reply.value instanceof Error) return finish(reject, reply.value);
        if (replies.push(reply.value) === all.length)
          return finish(resolve, replies.slice(all.length - commands.length));
      }
    });
    for (const command of all) socket.write(encode(command));
  });
}

const encode = (command) =>
  `*${command.length}\r\n${command.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join('')}`;

/** One reply from `at` on, or null while it is incomplete. */
function parse(bytes, at) {
  const end = bytes.indexOf('\r\n', at);
  if (end < 0) return null;
  const line = bytes.toString('utf8', at + 1, end);
  const next = end + 2;
  switch (String.fromCharCode(bytes[at])) {
    case '+':
      return { value: line, next };
    case '-':
      return { value: new Error(line), next };
    case ':':
      return { value: Number(line), next };
    case '$':
      return parseBulk(bytes, Number(line), next);
    case '*':
      return parseArray(bytes, Number(line), next);
    default:
      return { value: new Error('the answer is not in the Redis protocol'), next };
  }
}

function parseBulk(bytes, length, next) {
  if (length < 0) return { value: null, next };
  if (bytes.length < next + length + 2) return null;
  return { value: bytes.toString('utf8', next, next + length), next: next + length + 2 };
}

function parseArray(bytes, count, next) {
  const value = [];
  for (let index = 0; index < count; index += 1) {
    const item = parse(bytes, next);
    if (!item) return null;
    value.push(item.value);
    next = item.next;
  }
  return { value, next };
}
