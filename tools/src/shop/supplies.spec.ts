import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fillSupplies } from './supplies.js';

const WANTED = { buyerId: 'alice', sku: 'book', quantity: 1 };

describe('fillSupplies', () => {
  let server: Server;
  let url: string;
  /** The state of the shop, by path. */
  let shop: Record<string, object>;
  let puts: string[];
  const said: string[] = [];

  beforeEach(async () => {
    puts = [];
    said.length = 0;
    server = createServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray()).toString();
      if (request.method === 'PUT') {
        puts.push(`${request.url} ${body}`);
        shop[request.url!] = JSON.parse(body);
      }
      const found = shop[request.url!];
      response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(found ?? {}));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => server.close());

  const fill = () =>
    fillSupplies({ order: url, payment: url, inventory: url }, WANTED, { say: (line) => said.push(line) });

  it('changes nothing while there is enough', async () => {
    shop = { '/stock/book': { available: 10 }, '/accounts/alice': { balance: 10_000_000 } };
    await fill();
    expect([puts, said]).toEqual([[], []]);
  });

  it.each([
    ['an empty shelf', { '/stock/book': { available: 0 }, '/accounts/alice': { balance: 10_000_000 } }, '/stock/book'],
    ['a shelf that was never filled', { '/accounts/alice': { balance: 10_000_000 } }, '/stock/book'],
    ['an empty account', { '/stock/book': { available: 10 }, '/accounts/alice': { balance: 5 } }, '/accounts/alice'],
  ])('fills %s, and says so', async (_, state, path) => {
    shop = { ...state };
    await fill();
    expect(puts).toEqual([expect.stringMatching(`^${path} `)]);
    expect(said).toHaveLength(1);
    await fill();
    expect(puts).toHaveLength(1);
  });
});
