// What the demo tells about its apps, kept in order: an event may come before somebody waits for it.
import { until } from '../command/deadline.mjs';

export class AppEvents {
  #unread = [];

  add(event) {
    this.#unread.push(event);
  }

  /** The next event of this kind and app; those before it are dropped. Null when none comes in time. */
  next(kind, app, boundMs) {
    const take = () => {
      const index = this.#unread.findIndex((event) => event.kind === kind && event.app === app);
      if (index < 0) return null;
      const [event] = this.#unread.splice(0, index + 1).slice(-1);
      return event;
    };
    return until(take, { boundMs, everyMs: 50 });
  }
}
