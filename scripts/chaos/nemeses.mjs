// What can go wrong, as data. Each says what it is done to (`on`), how long it lasts, how it begins and how it ends.
import { call } from '../demo/http.mjs';

const FLOOD_CALLERS = 50;

/**
 * @typedef {{
 *   name: string, on: 'instance' | 'path' | 'database' | 'broker', lastsMs: [number, number], needsControl?: boolean,
 *   begin: (target: any) => Promise<any>, end: (target: any, begun: any) => Promise<void>
 * }} Nemesis `needsControl`: only on servers that this command runs itself; `end` gets what `begin` gave
 * @type {Nemesis[]}
 */
export const NEMESES = [
  {
    name: 'kill -9 an app',
    on: 'instance',
    lastsMs: [500, 1_500],
    begin: (instance) => instance.kill(),
    end: async () => {}, // it is started again by itself
  },
  {
    name: 'stop an app (SIGSTOP)',
    on: 'instance',
    lastsMs: [2_000, 12_000],
    begin: (instance) => instance.pause(),
    end: (instance, begun) => instance.resume(begun),
  },
  {
    name: 'flood of GET /metrics',
    on: 'instance',
    lastsMs: [3_000, 8_000],
    begin: async (instance) => flood(instance),
    end: async (_, ended) => ended(),
  },
  {
    name: 'cut the network',
    on: 'path',
    lastsMs: [1_000, 8_000],
    begin: async (proxy) => proxy.cut(),
    end: async (proxy) => proxy.heal(),
  },
  {
    name: 'lose all answers',
    on: 'path',
    lastsMs: [2_000, 12_000],
    begin: async (proxy) => proxy.blackHole('to-client'),
    end: async (proxy) => proxy.heal(),
  },
  {
    name: 'lose all requests',
    on: 'path',
    lastsMs: [2_000, 12_000],
    begin: async (proxy) => proxy.blackHole('to-server'),
    end: async (proxy) => proxy.heal(),
  },
  {
    name: 'reset all connections',
    on: 'path',
    lastsMs: [100, 500],
    begin: async (proxy) => proxy.reset(),
    end: async () => {},
  },
  {
    name: 'a firewall forgets all connections',
    on: 'path',
    lastsMs: [5_000, 15_000],
    begin: async (proxy) => proxy.forget(),
    end: async (proxy) => proxy.heal(),
  },
  {
    name: 'a slow network (200 ms)',
    on: 'path',
    lastsMs: [2_000, 8_000],
    begin: async (proxy) => proxy.delay(200),
    end: async (proxy) => proxy.heal(),
  },
  {
    name: 'the database takes no writes',
    on: 'database',
    lastsMs: [2_000, 8_000],
    begin: (database) => database.setReadOnly(true),
    end: (database) => database.setReadOnly(false),
  },
  {
    name: 'the account has too many connections',
    on: 'database',
    lastsMs: [2_000, 8_000],
    begin: (database) => database.limitConnections(2),
    end: (database) => database.limitConnections(0),
  },
  {
    name: 'somebody holds rows',
    on: 'database',
    lastsMs: [2_000, 12_000],
    begin: (database) => database.lockRows(),
    end: async (_, release) => release(),
  },
  {
    name: 'freeze the database',
    on: 'database',
    needsControl: true,
    lastsMs: [2_000, 8_000],
    begin: ({ server }) => server.pause(),
    end: ({ server }) => server.resume(),
  },
  {
    name: 'kill -9 the database',
    on: 'database',
    needsControl: true,
    lastsMs: [500, 3_000],
    begin: ({ server }) => server.kill(),
    end: ({ server }) => server.start(),
  },
  {
    name: 'freeze the broker',
    on: 'broker',
    needsControl: true,
    lastsMs: [2_000, 10_000],
    begin: ({ server }) => server.pause(),
    end: ({ server }) => server.resume(),
  },
];

/** Callers who ask for figures without a rest. Resolves at once with what ends them. */
function flood(instance) {
  let isOver = false;
  const caller = async () => {
    while (!isOver) await call('GET', `${instance.url}/metrics`, { timeoutMs: 5_000 }).catch(() => pause());
  };
  const callers = Array.from({ length: FLOOD_CALLERS }, caller);
  return async () => {
    isOver = true;
    await Promise.all(callers);
  };
}

/** After a refused connection, so that a process that is down is not asked a million times. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 100));
