// What the demo does on request, of `npm run break` or of the lab.
import { anyFreePort } from '../../process/app-ports.js';
import type { Supervisor } from '../../process/supervisor.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { Actions } from './control-socket.js';

export interface ServingApps {
  readonly supervisor: Supervisor;
  readonly sandbox: Sandbox;
  /** Of the administrator. */
  readonly token: string;
  readonly isServing: () => boolean;
}

export function actionsOn({ supervisor, sandbox, token, isServing }: ServingApps): Actions {
  return {
    status: async () => ({ urls: supervisor.urls, sandbox, token, isServing: isServing() }),
    restart: ({ app, env, holdMs }) => supervisor.restart(app, { env, holdMs }),
    startSecond: async ({ app }) => supervisor.startSecond(app, await anyFreePort()),
    stopSecond: ({ app }) => supervisor.stopSecond(app),
    kill: ({ app }) => supervisor.kill(app),
  };
}
