import { createSocket, type Socket } from 'node:dgram';
import { type LookupAddress, Resolver } from 'node:dns';
import { afterEach, expect, it } from 'vitest';
import { type LookUp, lookUpBy } from './dns-before-system-lookup.js';

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

/** A local name server, a resolver that uses it, and the count of its queries. */
async function serverThat(
  answer: (query: Buffer) => Buffer | null,
): Promise<{ resolver: Resolver; asked: () => number }> {
  const socket = createSocket('udp4');
  sockets.push(socket);
  let asked = 0;
  socket.on('message', (query, from) => {
    asked += 1;
    const reply = answer(query);
    if (reply) socket.send(reply, from.port, from.address);
  });
  await new Promise<void>((bound) => socket.bind(0, '127.0.0.1', bound));
  const resolver = new Resolver({ timeout: 100, tries: 2 });
  resolver.setServers([`127.0.0.1:${socket.address().port}`]);
  return { resolver, asked: () => asked };
}

/** Turns a query into its response (RFC 1035, 4.1). An A query gets 93.184.215.14, any other an empty answer. */
function known(query: Buffer): Buffer {
  const end = query.indexOf(0, 12) + 5;
  const isA = query.readUInt16BE(end - 4) === 1;
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(0x8180, 2);
  header.writeUInt16BE(isA ? 1 : 0, 6);
  header.writeUInt16BE(0, 10);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 93, 184, 215, 14]);
  return Buffer.concat([header, query.subarray(12, end), ...(isA ? [record] : [])]);
}

function unknown(query: Buffer): Buffer {
  const end = query.indexOf(0, 12) + 5;
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(0x8183, 2);
  header.writeUInt16BE(0, 10);
  return Buffer.concat([header, query.subarray(12, end)]);
}

const system: LookUp = (_host, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]);
const ask = (lookUp: LookUp, host: string) =>
  new Promise<LookupAddress[]>((resolve, reject) =>
    lookUp(host, { all: true }, (error, found) => (error ? reject(error) : resolve(found))),
  );

it('returns the addresses that DNS knows', async () => {
  const { resolver } = await serverThat(known);
  expect(await ask(lookUpBy(resolver, system), 'merchant.example')).toEqual([{ address: '93.184.215.14', family: 4 }]);
});

it('asks the system resolver for names that DNS does not know and for local names', async () => {
  const { resolver, asked } = await serverThat(unknown);
  expect(await ask(lookUpBy(resolver, system), 'merchant.internal')).toEqual([{ address: '127.0.0.1', family: 4 }]);
  const before = asked();
  for (const host of ['localhost', 'order', 'x.localhost'])
    expect(await ask(lookUpBy(resolver, system), host)).toEqual([{ address: '127.0.0.1', family: 4 }]);
  expect(asked()).toBe(before);
});

it('fails with ETIMEOUT if the name server is silent, without asking the system resolver', async () => {
  const { resolver, asked } = await serverThat(() => null);
  const never: LookUp = () => expect.unreachable('the system resolver was asked');
  await expect(ask(lookUpBy(resolver, never), 'merchant.example')).rejects.toThrow(/ETIMEOUT/);
  expect(asked()).toBeGreaterThan(1);
});
