// The control of the demo for a command that Ctrl-C may end at any time: what it has asked for is undone.
import { Interrupted } from '../../cli/operator-error.js';
import type { App } from '../../servers/server-set.js';
import type { ControlClient } from '../demo/control-socket.js';

/** A control whose requests end with `signal`, and the way to undo those before. */
export interface InterruptibleControl extends ControlClient {
  /** Starts the app without a failpoint and ends its second instance. The demo is as before. */
  setRight(app: App): Promise<void>;
}

/** A request that runs when the signal comes is waited for, since the demo would carry it out beside the next one. */
export function interruptible(control: ControlClient, signal: AbortSignal): InterruptibleControl {
  let last: Promise<unknown> = Promise.resolve();
  return {
    ask: (action, request) => {
      if (signal.aborted) return Promise.reject(new Interrupted('interrupted'));
      const asked = control.ask(action, request);
      last = asked.catch(() => {});
      return asked;
    },
    setRight: async (app) => {
      await last;
      await control.ask('stopSecond', { app });
      // A stopped process cannot end in good order.
      await control.ask('kill', { app });
      await control.ask('restart', { app, env: {}, holdMs: 0 });
    },
    close: () => control.close(),
  };
}
