// What has happened to the processes of the apps, for the lanes of the page.
import type { AppEvent } from '../../process/supervisor.js';
import type { App } from '../../servers/server-set.js';

const KEPT = 200;

export interface Happening {
  /** `second` and `second-stopped` belong to the instance that takes over from a stopped one. */
  readonly kind: AppEvent['kind'] | 'hit' | 'second' | 'second-stopped';
  readonly app: App;
  readonly pid: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** How a process died, or the failpoint and its action. */
  readonly how?: string;
}

export type AppState = 'starting' | 'up' | 'dead' | 'stopped';

export class Happenings {
  private all: Happening[] = [];
  private readonly states = new Map<App, AppState>();

  add(one: Happening): void {
    this.all = [...this.all, one].slice(-KEPT);
    const state = stateAfter(one);
    if (state) this.states.set(one.app, state);
  }

  get list(): readonly Happening[] {
    return this.all;
  }

  /** Null if nothing is known about the app. */
  stateOf(app: App): AppState | null {
    return this.states.get(app) ?? null;
  }
}

function stateAfter({ kind, how }: Happening): AppState | null {
  if (kind === 'died') return 'dead';
  if (kind === 'started') return 'starting';
  if (kind === 'ready') return 'up';
  return kind === 'hit' && how?.startsWith('pause') ? 'stopped' : null;
}
