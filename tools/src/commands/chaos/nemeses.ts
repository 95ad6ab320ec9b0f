// The faults of a run, as data. Each has a kind of target (`on`), a duration, a beginning and an end.
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerControl } from '../../servers/server-set.js';
import { call, untilReady } from '../../shop/app-calls.js';
import type { Broker, Resource } from './breakable-broker.js';
import type { DatabaseServer } from './breakable-database-servers.js';
import type { Instance } from './proxied-app-instance.js';
import type { TcpProxy } from './tcp-proxy.js';

const FLOOD_CALLERS = 50;
const TEN_MINUTES_MS = 600_000;
/** Of one instance in a rolling restart. Another nemesis may keep it from becoming ready. */
const ROLLED_BOUND_MS = 30_000;

/** What a nemesis is given, by its `on`. */
export interface Targets {
  instance: Instance;
  /** All instances of an app. */
  app: readonly Instance[];
  path: TcpProxy;
  database: DatabaseServer;
  broker: Broker;
  /** The database of the handler that a run lets fail. */
  handler: DatabaseServer;
}

/** One use of a nemesis. `end` is called in any case, also after a `begin` that failed halfway. */
export interface Fault {
  begin(): unknown;
  end(): unknown;
}

interface NemesisOn<On extends keyof Targets> {
  readonly name: string;
  readonly on: On;
  readonly lastsMs: readonly [number, number];
  /** It works only on servers that the commands run. */
  readonly needsControl?: boolean;
  fault(target: Targets[On]): Fault;
}

export type Nemesis = { [On in keyof Targets]: NemesisOn<On> }[keyof Targets];

export const NEMESES: readonly Nemesis[] = [
  {
    name: 'kill -9 an app',
    on: 'instance',
    lastsMs: [500, 1_500],
    fault: (instance) => ({ begin: () => instance.kill(), end: () => {} }), // the instance starts itself again
  },
  { name: 'stop an app (SIGSTOP)', on: 'instance', lastsMs: [2_000, 12_000], fault: pausedInstance },
  { name: 'flood of GET /metrics', on: 'instance', lastsMs: [3_000, 8_000], fault: flood },
  onPath('cut the network', [1_000, 8_000], (proxy) => proxy.cut()),
  onPath('lose all answers', [2_000, 12_000], (proxy) => proxy.blackHole('to-client')),
  onPath('lose all requests', [2_000, 12_000], (proxy) => proxy.blackHole('to-server')),
  {
    name: 'reset all connections',
    on: 'path',
    lastsMs: [100, 500],
    fault: (proxy) => ({ begin: () => proxy.reset(), end: () => {} }),
  },
  onPath('a firewall forgets all connections', [5_000, 15_000], (proxy) => proxy.forget()),
  onPath('a slow network (200 ms)', [2_000, 8_000], (proxy) => proxy.delay(200)),
  {
    name: 'the database takes no writes',
    on: 'database',
    lastsMs: [2_000, 8_000],
    fault: (database) => ({ begin: () => database.setReadOnly(true), end: () => database.setReadOnly(false) }),
  },
  {
    name: 'the account has too many connections',
    on: 'database',
    lastsMs: [2_000, 8_000],
    fault: (database) => ({ begin: () => database.limitConnections(2), end: () => database.limitConnections(0) }),
  },
  { name: 'a session holds rows', on: 'database', lastsMs: [2_000, 12_000], fault: lockedRows },
  { name: 'freeze the database', on: 'database', needsControl: true, lastsMs: [2_000, 8_000], fault: frozen },
  {
    name: 'kill -9 the database',
    on: 'database',
    needsControl: true,
    lastsMs: [500, 3_000],
    fault: ({ server }) => ({ begin: () => server.kill(), end: () => server.start() }),
  },
  {
    name: 'a handler fails until its messages are parked',
    on: 'handler',
    lastsMs: [6_000, 12_000],
    fault: (database) => ({ begin: () => database.failHandler(true), end: () => database.failHandler(false) }),
  },
  {
    name: 'old messages are sent again',
    on: 'database',
    lastsMs: [500, 1_000],
    fault: (database) => ({ begin: () => database.sendAgain(), end: () => {} }),
  },
  { name: 'messages are sent twice at once', on: 'database', lastsMs: [2_000, 6_000], fault: doubledMessages },
  {
    name: 'an operator retries and rejects at random',
    on: 'instance',
    lastsMs: [500, 1_000],
    fault: (instance) => ({ begin: () => instance.operator.actAtRandom(), end: () => {} }),
  },
  {
    name: 'restart an app (SIGTERM)',
    on: 'instance',
    lastsMs: [500, 1_500],
    fault: (instance) => ({ begin: () => instance.restart(), end: () => {} }),
  },
  { name: 'a rolling restart of an app', on: 'app', lastsMs: [8_000, 16_000], fault: rollingRestart },
  wrongClock('a clock that is 10 minutes fast', TEN_MINUTES_MS),
  wrongClock('a clock that is 10 minutes slow', -TEN_MINUTES_MS),
  {
    name: 'kill -9 the broker',
    on: 'broker',
    needsControl: true,
    lastsMs: [500, 3_000],
    fault: ({ server }) => ({ begin: () => server.kill(), end: () => server.start() }),
  },
  { name: 'freeze the broker', on: 'broker', needsControl: true, lastsMs: [2_000, 10_000], fault: frozen },
  scarcity('the broker is short of memory', 'memory'),
  scarcity('the disk of the broker is full', 'disk'),
];

export function nemesisOf(name: string): Nemesis {
  const found = NEMESES.find((nemesis) => nemesis.name === name);
  if (!found) throw new Error(`unknown nemesis "${name}"`);
  return found;
}

/** A fault of the network that lasts until the proxy is healed. */
function onPath(name: string, lastsMs: readonly [number, number], begin: (proxy: TcpProxy) => void): NemesisOn<'path'> {
  return { name, on: 'path', lastsMs, fault: (proxy) => ({ begin: () => begin(proxy), end: () => proxy.heal() }) };
}

/** The broker raises its alarm and blocks every publisher. Its consumers go on. */
function scarcity(name: string, resource: Resource): NemesisOn<'broker'> {
  return {
    name,
    on: 'broker',
    needsControl: true,
    lastsMs: [3_000, 12_000],
    fault: (broker) => ({ begin: () => broker.exhaust(resource), end: () => broker.provide(resource) }),
  };
}

/** The instance is restarted with the wrong clock and at the end with the true one. Its servers keep the true time. */
function wrongClock(name: string, shiftMs: number): NemesisOn<'instance'> {
  return {
    name,
    on: 'instance',
    lastsMs: [8_000, 20_000],
    fault: (instance) => ({ begin: () => instance.shiftClock(shiftMs), end: () => instance.shiftClock(0) }),
  };
}

/** One instance after the other, as a deployment does. */
function rollingRestart(instances: readonly Instance[]): Fault {
  return {
    begin: async () => {
      for (const instance of instances) {
        await instance.restart();
        await untilReady(instance.url, { boundMs: ROLLED_BOUND_MS });
      }
    },
    end: () => {},
  };
}

function frozen({ server }: { readonly server: ServerControl }): Fault {
  return { begin: () => server.pause(), end: () => server.resume() };
}

function pausedInstance(instance: Instance): Fault {
  let pid: number | null = null;
  return {
    begin: () => {
      pid = instance.pause();
    },
    end: () => instance.resume(pid),
  };
}

function lockedRows(database: DatabaseServer): Fault {
  let release = async () => {};
  return {
    begin: async () => {
      release = await database.lockRows();
    },
    end: () => release(),
  };
}

/** Callers that ask for metrics without a rest. */
function flood(instance: Instance): Fault {
  let isOver = false;
  let callers: Array<Promise<void>> = [];
  const caller = async () => {
    // The rest after a refused connection keeps a dead process from being called a million times.
    while (!isOver) await call('GET', `${instance.url}/metrics`, { timeoutMs: 5_000 }).catch(() => sleep(100));
  };
  return {
    begin: () => {
      callers = Array.from({ length: FLOOD_CALLERS }, caller);
    },
    end: async () => {
      isOver = true;
      await Promise.all(callers);
    },
  };
}

/** Messages without a receipt are sent again and again. */
function doubledMessages(database: DatabaseServer): Fault {
  let isOver = false;
  let loop = Promise.resolve();
  const goOn = async () => {
    while (!isOver) {
      await sleep(200);
      await database.sendTwice().catch(() => {}); // another nemesis has taken the database away
    }
  };
  return {
    begin: async () => {
      await database.sendTwice();
      loop = goOn();
    },
    end: () => {
      isOver = true;
      return loop;
    },
  };
}
