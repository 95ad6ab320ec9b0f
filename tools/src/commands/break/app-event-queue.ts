// The events of the demo's apps, kept in order: an event may come before a caller waits for it.

import { until } from '../../cli/waits-and-progress.js';
import type { AppEvent } from '../../process/supervisor.js';
import type { App } from '../../servers/server-set.js';

export class AppEventQueue {
  #unread: AppEvent[] = [];

  add(event: AppEvent): void {
    this.#unread.push(event);
  }

  /** The next event of this kind and app. Earlier events are dropped. Null if none comes in time. */
  next(kind: AppEvent['kind'], app: App, boundMs: number): Promise<AppEvent | null> {
    const take = () => {
      const index = this.#unread.findIndex((event) => event.kind === kind && event.app === app);
      if (index < 0) return null;
      const [event] = this.#unread.splice(0, index + 1).slice(-1);
      return event;
    };
    return until(take, { boundMs, everyMs: 50 });
  }
}
