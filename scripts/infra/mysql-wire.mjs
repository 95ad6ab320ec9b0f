// Just enough of the MySQL protocol to log in and run one statement: readiness has to be asked before anything is
// installed, and with the very account, address and password that the apps will use.
import { constants, createHash, publicEncrypt } from 'node:crypto';
import { connect } from 'node:net';
import { serverUrlParts } from './server-url.mjs';

const CAPABILITIES = 0x1 | 0x200 | 0x2000 | 0x8000 | 0x80000; // long password, 4.1 protocol, transactions, secure, plugins
const UTF8MB4 = 45;
const [OK, MORE, SWITCH, FAILED] = [0x00, 0x01, 0xfe, 0xff];

/** Resolves with the server's version once it has answered the statement; rejects with what it said instead. */
export function ask(url, sql, { timeoutMs = 5_000 } = {}) {
  const { host, port, user = '', password = '' } = serverUrlParts(url);
  const login = { user, password };
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const finish = (settle, value) => {
      socket.destroy();
      settle(value);
    };
    socket.setTimeout(timeoutMs, () => finish(reject, new Error(`no answer within ${timeoutMs / 1000} s`)));
    socket.on('error', (error) => finish(reject, error));
    socket.on('close', () => reject(new Error('the connection was closed')));
    const talk = conversation(login, sql);
    talk.next();
    onPackets(socket, (packet, sequence) => {
      if (packet[0] === FAILED) return finish(reject, serverError(packet));
      const { value, done } = talk.next(packet);
      if (done) return finish(resolve, value);
      if (value) send(socket, value.body, value.first ? 0 : sequence + 1);
    });
  });
}

/** One yield per packet that we wait for; the value yielded is what to send before waiting. */
function* conversation({ user, password }, sql) {
  const greeting = parseGreeting(yield);
  let { plugin, nonce } = greeting;
  let packet = yield { body: loginPacket(user, plugin, scramble(plugin, password, nonce)) };
  while (packet[0] !== OK) {
    if (packet[0] === SWITCH) {
      [plugin, nonce] = parseSwitch(packet);
      packet = yield { body: scramble(plugin, password, nonce) };
    } else if (packet[0] === MORE && packet[1] === 4) {
      const key = yield { body: Buffer.from([2]) }; // not in the server's cache: ask for its public key
      packet = yield { body: encryptPassword(password, nonce, key.subarray(1)) };
    } else {
      packet = yield null; // "fast path taken": OK follows by itself
    }
  }
  yield { body: Buffer.concat([Buffer.from([3]), Buffer.from(sql)]), first: true };
  return greeting.version;
}

function parseGreeting(packet) {
  const end = packet.indexOf(0, 1);
  const at = end + 5;
  const second = at + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10;
  return {
    version: packet.toString('latin1', 1, end),
    nonce: Buffer.concat([packet.subarray(at, at + 8), packet.subarray(second, second + 12)]),
    plugin: packet.toString('latin1', second + 13).replace(/\0.*$/s, '') || 'mysql_native_password',
  };
}

function parseSwitch(packet) {
  const end = packet.indexOf(0, 1);
  return [packet.toString('latin1', 1, end), packet.subarray(end + 1, end + 21)];
}

function loginPacket(user, plugin, answer) {
  const head = Buffer.alloc(32);
  head.writeUInt32LE(CAPABILITIES, 0);
  head.writeUInt32LE(1 << 24, 4);
  head[8] = UTF8MB4;
  return Buffer.concat([
    head,
    Buffer.from(`${user}\0`),
    Buffer.from([answer.length]),
    answer,
    Buffer.from(`${plugin}\0`),
  ]);
}

function scramble(plugin, password, nonce) {
  if (password === '') return Buffer.alloc(0);
  if (plugin === 'caching_sha2_password') {
    const once = hash('sha256', password);
    return xor(once, hash('sha256', hash('sha256', once), nonce));
  }
  if (plugin === 'mysql_native_password') {
    const once = hash('sha1', password);
    return xor(once, hash('sha1', nonce, hash('sha1', once)));
  }
  throw new Error(`the account logs in with ${plugin}: use caching_sha2_password or mysql_native_password`);
}

function encryptPassword(password, nonce, key) {
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  return publicEncrypt({ key, padding, oaepHash: 'sha1' }, xor(Buffer.from(`${password}\0`), nonce));
}

const hash = (algorithm, ...parts) => parts.reduce((sum, part) => sum.update(part), createHash(algorithm)).digest();
const xor = (bytes, mask) => Buffer.from(bytes.map((byte, at) => byte ^ mask[at % mask.length]));

function serverError(packet) {
  const hasState = packet[3] === '#'.charCodeAt(0);
  const error = new Error(packet.toString('utf8', hasState ? 9 : 3));
  return Object.assign(error, { errno: packet.readUInt16LE(1) });
}

function send(socket, body, sequence) {
  const head = Buffer.alloc(4);
  head.writeUIntLE(body.length, 0, 3);
  head[3] = sequence & 0xff;
  socket.write(Buffer.concat([head, body]));
}

function onPackets(socket, onPacket) {
  let received = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    while (!socket.destroyed && received.length >= 4 && received.length >= 4 + received.readUIntLE(0, 3)) {
      const length = received.readUIntLE(0, 3);
      const packet = received.subarray(4, 4 + length);
      const sequence = received[3];
      received = received.subarray(4 + length);
      onPacket(packet, sequence);
    }
  });
}
