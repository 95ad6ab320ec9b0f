// The servers of the tests around a piece of work.
import { join } from 'node:path';
import type { Say } from '../../cli/say-type.js';
import { placeOf, ROOT } from '../../infra-files.js';
import { withLock } from '../../process/command-lock.js';
import { killStraysBelow } from '../../process/detached-processes.js';
import { isUp } from '../../sandbox/servers-for-sandboxes.js';
import { down, up } from '../../servers/index.js';
import type { Servers } from '../../servers/server-set.js';
import { dropOldSandboxes } from './drop-and-audit-sandboxes.js';

/** Two runs at once would drop each other's databases. */
const LOCK = join(ROOT, '.infra', 'test-run.lock');
const LOCK_BOUND_MS = 3_600_000;

/** Brings the servers up without old sandboxes. Servers that were up before stay up: another command may use them. */
export function onTestServers<T>(
  { say, signal }: { say: Say; signal: AbortSignal },
  work: (servers: Servers) => Promise<T>,
): Promise<T> {
  return withLock(LOCK, { say, what: 'the tests', boundMs: LOCK_BOUND_MS }, async () => {
    signal.throwIfAborted();
    const wasUp = await isUp('test');
    await endPrivateServers(); // of a run that was killed
    try {
      const servers = await up('test', { say });
      signal.throwIfAborted();
      await dropOldSandboxes(servers);
      return await work(servers);
    } finally {
      await endPrivateServers();
      if (!wasUp) await down('test', { say });
    }
  });
}

/** Servers of single spec files. A spec file that was interrupted has left them running. */
const endPrivateServers = () => killStraysBelow(join(placeOf('test'), 'private-'));
