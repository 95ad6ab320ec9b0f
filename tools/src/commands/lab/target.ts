// The apps that the lab works on. In the demo it can also end and start their processes.
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { App } from '../../servers/server-set.js';
import type { Urls } from '../../shop/purchase.js';
import type { Actions } from '../demo/control-socket.js';

export interface LabTarget {
  readonly urls: Urls;
  readonly sandbox: Omit<Sandbox, 'redis'>;
  readonly adminToken: string;
  /** Null where the lab cannot end a process. */
  readonly processes: Processes | null;
}

/** The processes of the demo. */
export interface Processes {
  readonly actions: Actions;
  /** Where armed apps log their hits. */
  readonly failpointLog: string;
  /** The file that one break at a time holds, of the lab or of `npm run break`. */
  readonly breakLock: string;
  /** Every living process, second instances too. */
  living(): ReadonlyArray<{ readonly name: App; readonly pid: number }>;
}

/** Why the page has no buttons to crash an app. */
export const NO_PROCESSES =
  'These apps run in containers, which the lab can neither stop nor start again. NODE_ENV=production refuses failpoints, too. "npm run demo" has a lab that can.';
