// Hosts of their own on this machine: network namespaces with an address each, on one switch. A link that is set down is a
// cable that is pulled. Packets vanish, and no connection is reset. Linux as root only.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { messageOf } from '../cli/error-text.js';
import { ROOT } from '../infra-files.js';
import type { Program } from '../process/detached-processes.js';

/** Why this machine cannot have such hosts, or an empty text. */
export function lackOfNamespaces(): string {
  const name = `${PREFIX}-try`;
  attempt('netns', 'del', name);
  try {
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'add', 'switch', 'type', 'bridge');
    return '';
  } catch (error) {
    return `network namespaces are not permitted here: ${messageOf(error).split('\n').slice(0, 2).join(' ')}`;
  } finally {
    attempt('netns', 'del', name);
  }
}

/** Names and addresses are those of this clone, so that two clones do not meet. Interface names have at most 15 letters. */
const digest = createHash('sha256').update(ROOT).digest();
const PREFIX = `dtx${digest.toString('hex', 0, 2)}`;
/** Reserved for tests between networks (RFC 2544), so no real host has such an address. */
const SUBNET = `198.18.${digest[2]}`;

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

function attempt(...args: string[]): void {
  try {
    ip(...args);
  } catch {} // it does not exist
}

/** Hosts that reach each other and this machine. There is one such network per clone. */
export class HostNetwork<Host extends string> {
  private constructor(private readonly hosts: readonly Host[]) {}

  /** Removes what an interrupted run has left, and makes the hosts with all links up. */
  static create<Host extends string>(hosts: readonly Host[]): HostNetwork<Host> {
    const network = new HostNetwork(hosts);
    network.remove();
    // The switch has a namespace of its own. The firewall of this machine might drop what a bridge of its own passes on.
    ip('netns', 'add', PREFIX);
    ip('-n', PREFIX, 'link', 'add', 'switch', 'type', 'bridge');
    ip('-n', PREFIX, 'link', 'set', 'switch', 'up');
    ip('link', 'add', PREFIX, 'type', 'veth', 'peer', 'name', 'machine', 'netns', PREFIX);
    ip('-n', PREFIX, 'link', 'set', 'machine', 'master', 'switch', 'up');
    ip('addr', 'add', `${SUBNET}.254/24`, 'dev', PREFIX);
    ip('link', 'set', PREFIX, 'up');
    for (const host of hosts) {
      const own = namespaceOf(host);
      ip('netns', 'add', own);
      ip('-n', PREFIX, 'link', 'add', host, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', own);
      ip('-n', PREFIX, 'link', 'set', host, 'master', 'switch', 'up');
      ip('-n', own, 'addr', 'add', `${network.addressOf(host)}/24`, 'dev', 'eth0');
      ip('-n', own, 'link', 'set', 'lo', 'up');
      ip('-n', own, 'link', 'set', 'eth0', 'up');
    }
    return network;
  }

  addressOf(host: Host): string {
    return `${SUBNET}.${this.hosts.indexOf(host) + 1}`;
  }

  /** The same program, run on a host. It keeps the pid of the command. Only root may enter a namespace. */
  on(host: Host, program: Program): Program {
    const { command, args = [] } = program;
    return {
      ...program,
      account: null,
      command: 'ip',
      args: ['netns', 'exec', namespaceOf(host), command, ...args],
    };
  }

  /** Pulls the cable of a host, or plugs it in again. */
  setLink(host: Host, state: 'up' | 'down'): void {
    ip('-n', PREFIX, 'link', 'set', host, state);
  }

  /** Processes on the hosts must have ended before. */
  remove(): void {
    for (const host of this.hosts) attempt('netns', 'del', namespaceOf(host));
    attempt('link', 'del', PREFIX);
    attempt('netns', 'del', PREFIX);
  }
}

const namespaceOf = (host: string) => `${PREFIX}-${host}`;
