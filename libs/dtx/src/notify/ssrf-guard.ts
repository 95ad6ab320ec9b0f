import { BlockList, isIP, type LookupFunction } from 'node:net';
import { DtxError } from '../core/errors/errors.js';
import { type LookUp, lookUpBy } from './dns-before-system-lookup.js';

/** A target that must not be called. Not retryable. An operator has to allow it or correct the URL. */
export class TargetRefused extends DtxError {}

/**
 * Addresses outside the public Internet (IANA special-purpose registries). They include private and shared networks,
 * link-local with the metadata services of clouds, multicast, and IPv6 forms that contain an IPv4 address. `BlockList`
 * compares IPv4-mapped addresses as IPv4.
 */
const NOT_PUBLIC: ReadonlyArray<readonly [string, number]> = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['::', 96],
  ['::ffff:0:0:0', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
  ['5f00::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
];

const familyOf = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

/** True for an address of the public Internet, in any form that `isIP` accepts. */
export function isPublic(address: string): boolean {
  return isIP(address) !== 0 && !notPublic.check(address, familyOf(address));
}

const notPublic = new BlockList();
for (const [network, bits] of NOT_PUBLIC) notPublic.addSubnet(network, bits, familyOf(network));

const DEFAULT_PORTS: Record<string, string> = { 'http:': '80', 'https:': '443' };

/**
 * Protects against server-side request forgery (SSRF). It admits public targets, and private targets that the option
 * `allow` lists. A name is judged by the addresses that the connection itself uses, so DNS rebinding has no effect.
 */
export class SsrfGuard {
  private readonly hosts = new Set<string>();
  private readonly allowed = new BlockList();

  constructor(
    allow: readonly string[],
    private readonly lookUp: LookUp = lookUpBy(),
  ) {
    for (const entry of allow) this.add(entry);
  }

  /** @throws TargetRefused unless the target is an http(s) URL without user and password, and not a private address */
  check(target: string): URL {
    if (!URL.canParse(target)) throw new TargetRefused('target is not a URL');
    const url = new URL(target);
    if (url.protocol !== 'http:' && url.protocol !== 'https:')
      throw new TargetRefused(`target has protocol ${url.protocol}, expected http: or https:`);
    if (url.username !== '' || url.password !== '') throw new TargetRefused('target contains a user or password');
    const host = bareHost(url.hostname);
    // An address is never looked up, so it is checked here. `URL` has already normalized it.
    if (isIP(host) !== 0 && !this.mayConnect(url, host)) throw refusal(host);
    return url;
  }

  /** The look-up function for the connection of one call. It yields only admitted addresses. */
  lookupFor(url: URL): LookupFunction {
    return (host, options, done) => {
      this.lookUp(host, { ...options, all: true }, (error, found) => {
        if (error) return done(error, []);
        const good = found.filter(({ address }) => this.mayConnect(url, address));
        if (good.length === 0) return done(refusal(found.map(({ address }) => address).join(', ')), []);
        if (options.all) done(null, good);
        else done(null, good[0]!.address, good[0]!.family);
      });
    };
  }

  private mayConnect({ hostname, port, protocol }: URL, address: string): boolean {
    // `URL` omits the default port of its protocol.
    const hostAndPort = `${hostname}:${port || DEFAULT_PORTS[protocol]}`;
    if (this.hosts.has(bareHost(hostname)) || this.hosts.has(hostAndPort)) return true;
    return isPublic(address) || (isIP(address) !== 0 && this.allowed.check(address, familyOf(address)));
  }

  private add(entry: string): void {
    const [address = '', bits] = entry.trim().toLowerCase().split('/');
    const host = bareHost(address);
    if (isIP(host) === 0) this.hosts.add(address);
    else if (bits === undefined) this.allowed.addAddress(host, familyOf(host));
    else this.allowed.addSubnet(host, Number(bits), familyOf(host));
  }
}

/**
 * True for a valid entry of the option `allow`: `host`, `host:port`, an address, or a CIDR range.
 * @example
 *   isAllowEntry('10.0.0.0/8'); // true
 *   isAllowEntry('http://hooks.internal'); // false
 */
export function isAllowEntry(entry: string): boolean {
  const [address = '', bits, ...more] = entry.trim().split('/');
  const version = isIP(bareHost(address));
  if (more.length > 0) return false;
  if (version !== 0)
    return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
  return bits === undefined && /^(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?$/i.test(address);
}

function bareHost(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}

function refusal(addresses: string): TargetRefused {
  return new TargetRefused(`${addresses || 'no address'} is not public and not listed in the option \`allow\``);
}
