import type { LookupAddress } from 'node:dns';
import { describe, expect, it } from 'vitest';
import { isAllowEntry, isPublic, SsrfGuard, TargetRefused } from './ssrf-guard.js';

const guard = new SsrfGuard([]);

/** The addresses that the connection of a call would get. Rejects with the refusal. */
function lookup(by: SsrfGuard, target: string): Promise<LookupAddress[]> {
  const url = by.check(target);
  return new Promise((resolve, reject) => {
    by.lookupFor(url)(url.hostname, { all: true }, (error, found) =>
      error ? reject(error) : resolve(found as LookupAddress[]),
    );
  });
}

const resolving = (...addresses: string[]) =>
  new SsrfGuard([], (_, __, done) =>
    done(
      null,
      addresses.map((address) => ({ address, family: 4 })),
    ),
  );

describe('a private address', () => {
  it.each([
    '127.0.0.1',
    '127.1',
    '127.255.255.254',
    '0x7f000001',
    '0x7f.0.0.1',
    '2130706433',
    '017700000001',
    '0177.0.0.1',
    '0',
    '0.0.0.0',
    '10.0.0.1',
    '100.64.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '192.0.0.8',
    '198.18.0.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '127.0.0.1.',
    '①②⑦.0.0.1',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[0:0:0:0:0:ffff:10.0.0.1]',
    '[::127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '[2002:7f00:1::]',
    '[2001::1]',
    '[fc00::1]',
    '[fd12:3456::1]',
    '[fe80::1]',
    '[fec0::1]',
    '[ff02::1]',
    '[2001:db8::1]',
    '[::ffff:169.254.169.254]',
  ])('is refused as %s', (host) => {
    expect(() => guard.check(`http://${host}:80/x`)).toThrow(TargetRefused);
  });

  it('is refused if a name resolves only to private addresses', async () => {
    await expect(lookup(resolving('10.0.0.1', '::1'), 'http://name.example/')).rejects.toThrow(TargetRefused);
    await expect(lookup(resolving(), 'http://name.example/')).rejects.toThrow(TargetRefused);
  });

  it('is left out if a name also resolves to public addresses', async () => {
    const found = await lookup(resolving('10.0.0.1', '93.184.215.14'), 'http://name.example/');
    expect(found.map(({ address }) => address)).toEqual(['93.184.215.14']);
  });
});

describe('a target', () => {
  it.each(['93.184.215.14', '8.8.8.8', '2606:2800:21f::1', '::ffff:8.8.8.8', '172.32.0.1', '100.128.0.1'])(
    'at a public address is admitted: %s',
    (address) => {
      expect(isPublic(address)).toBe(true);
    },
  );

  it.each([
    'ftp://x/',
    'file:///etc/passwd',
    'http://user@x/',
    'http://user:pass@x/',
    'nonsense',
    'javascript:alert(1)',
  ])('that is not a plain http(s) URL is refused: %s', (target) => {
    expect(() => guard.check(target)).toThrow(TargetRefused);
  });

  it('listed in `allow` may be private: by host, host and port, address, or range', async () => {
    const allowing = (...allow: string[]) =>
      new SsrfGuard(allow, (_, __, done) => done(null, [{ address: '10.1.2.3', family: 4 }]));
    await expect(lookup(allowing('order'), 'http://order:3000/')).resolves.toHaveLength(1);
    await expect(lookup(allowing('order:3000'), 'http://order:3000/')).resolves.toHaveLength(1);
    await expect(lookup(allowing('order:3000'), 'http://order:3001/')).rejects.toThrow(TargetRefused);
    await expect(lookup(allowing('order:443'), 'https://order/')).resolves.toHaveLength(1);
    await expect(lookup(allowing('order:443'), 'http://order/')).rejects.toThrow(TargetRefused);
    await expect(lookup(allowing('10.0.0.0/8'), 'http://order/')).resolves.toHaveLength(1);
    await expect(lookup(allowing('10.0.0.0/16'), 'http://order/')).rejects.toThrow(TargetRefused);
    expect(allowing('127.0.0.1:3001').check('http://127.0.0.1:3001/').port).toBe('3001');
    expect(() => allowing('127.0.0.1:3001').check('http://127.0.0.1:3002/')).toThrow(TargetRefused);
    expect(allowing('::1').check('http://[::1]/').hostname).toBe('[::1]');
  });

  it('is accepted in `allow` only in a valid form', () => {
    for (const entry of ['order', 'order:3000', '10.0.0.0/8', '::1', 'fd00::/8', '[::1]:80'])
      expect(isAllowEntry(entry)).toBe(true);
    for (const entry of ['', 'http://order', 'a b', '10.0.0.0/33', '::/129', 'order/8', 'x:1:2'])
      expect(isAllowEntry(entry)).toBe(false);
  });
});
