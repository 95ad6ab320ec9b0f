// Plays the steps of a schedule: begins and ends each fault at its time.
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../cli/error-text.js';
import { OperatorError } from '../../cli/operator-error.js';
import type { Say } from '../../cli/say-type.js';
import { until } from '../../cli/waits-and-progress.js';
import { type Fault, type Nemesis, nemesisOf } from './nemeses.js';
import { lineOf, type Step, type Target } from './schedule.js';
import type { Stage } from './stage.js';

const END_BOUND_MS = 60_000;

export class StepPlayer {
  /** Uses that began, and those that could not be begun, by the name of the nemesis. */
  readonly begun: Record<string, number> = {};
  readonly failed: Record<string, number> = {};
  /** How to end each fault that is at work, by its target. */
  readonly #running = new Map<string, () => Promise<void>>();

  constructor(
    private readonly stage: Stage,
    private readonly options: { readonly say: Say; readonly signal: AbortSignal },
  ) {}

  /** Resolves when the last fault has ended, at `endMs` at the earliest. */
  async play(steps: readonly Step[], { endMs }: { endMs: number }): Promise<void> {
    const since = performance.now();
    await Promise.all(steps.map((step) => this.#playOne(step, since)));
    await this.#sleepUntil(since + endMs);
  }

  async endAll(): Promise<void> {
    for (const end of this.#running.values()) await end().catch(() => {});
  }

  async #playOne(step: Step, since: number): Promise<void> {
    await this.#sleepUntil(since + step.atMs);
    if (this.options.signal.aborted) return;
    this.options.say(lineOf(step));
    const nemesis = nemesisOf(step.nemesis);
    const target = `${nemesis.on} ${JSON.stringify(step.target)}`;
    // On a busy machine a fault begins and ends later than planned. The end of one would end the other.
    if (this.#running.has(target)) return this.#leaveOut(step, 'the fault before it still lasts');
    const fault = this.#faultOf(nemesis, step.target);
    this.#running.set(target, () => this.#end(step.nemesis, fault));
    try {
      await fault.begin();
      count(this.begun, step.nemesis);
    } catch (error) {
      // Another step may have frozen its server.
      this.#leaveOut(step, messageOf(error));
    }
    await this.#sleepUntil(since + step.atMs + step.lastsMs);
    await this.#running.get(target)?.();
    this.#running.delete(target);
  }

  #leaveOut({ n, nemesis }: Step, why: string): void {
    count(this.failed, nemesis);
    this.options.say(`${`#${n}`.padStart(4)}  could not be begun: ${why}`);
  }

  #faultOf(nemesis: Nemesis, { app = 'order', instance = 0, path = 'database' }: Target): Fault {
    const { byApp, behind } = this.stage;
    switch (nemesis.on) {
      case 'broker':
        return nemesis.fault(behind.broker);
      case 'handler':
        return nemesis.fault(behind.databases.inventory);
      case 'app':
        return nemesis.fault(byApp[app]);
      case 'database':
        return nemesis.fault(behind.databases[app]);
      case 'path':
        return nemesis.fault(byApp[app][instance]!.path(path));
      default:
        return nemesis.fault(byApp[app][instance]!);
    }
  }

  /** Must succeed, otherwise the run cannot come to rest. Another step may have frozen the server for a while. */
  async #end(name: string, fault: Fault): Promise<void> {
    let last: unknown;
    const isEnded = async () => {
      try {
        await fault.end();
        return true;
      } catch (error) {
        last = error;
        return false;
      }
    };
    if (!(await until(isEnded, { boundMs: END_BOUND_MS, everyMs: 500 })))
      throw new OperatorError(`"${name}" could not be ended: ${messageOf(last)}`);
  }

  async #sleepUntil(moment: number): Promise<void> {
    const ms = moment - performance.now();
    if (ms > 0) await sleep(ms, undefined, { signal: this.options.signal }).catch(() => {});
  }
}

function count(uses: Record<string, number>, name: string): void {
  uses[name] = (uses[name] ?? 0) + 1;
}
