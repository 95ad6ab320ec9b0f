// The broker of a run, as its nemeses see it.
import { until } from '../../cli/waits-and-progress.js';
import { management } from '../../servers/broker-api.js';
import { brokerCtl } from '../../servers/index.js';
import type { ServerControl } from '../../servers/server-set.js';

export type Resource = 'memory' | 'disk';
type Arguments = readonly [string, ...string[]];

/** Arguments of rabbitmqctl. A broker without an alarm has the values of `enough`, which are those of its configuration. */
const LIMITS: Record<Resource, { readonly scarce: Arguments; readonly enough: Arguments }> = {
  memory: {
    scarce: ['set_vm_memory_high_watermark', 'absolute', '1MiB'],
    enough: ['set_vm_memory_high_watermark', '0.4'],
  },
  disk: { scarce: ['set_disk_free_limit', '1000000GB'], enough: ['set_disk_free_limit', '50MB'] },
};
const SEEN_WITHIN_MS = 15_000;

interface BrokerOptions {
  /** The name of the set of servers. */
  readonly set: string;
  /** The URL of the management API. */
  readonly management: string;
  readonly server: ServerControl;
}

export class Broker {
  readonly #options: BrokerOptions;
  /** Stops, kills and pauses it, if the commands run it. */
  readonly server: ServerControl;

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.server = options.server;
  }

  /** The broker takes no message from any publisher until `provide`. Rejects if it has not raised the alarm. */
  exhaust(resource: Resource): Promise<void> {
    return this.#set(LIMITS[resource].scarce, true);
  }

  /** Rejects if the alarm is still there. */
  provide(resource: Resource): Promise<void> {
    return this.#set(LIMITS[resource].enough, false);
  }

  /** Ends the alarms of a run that was killed. */
  async reset(): Promise<void> {
    if (!(await this.#isInAlarm())) return;
    await this.provide('memory').catch(() => {}); // the disk may be in alarm as well
    await this.provide('disk');
  }

  async #set(limit: Arguments, isAlarm: boolean): Promise<void> {
    await brokerCtl(this.#options.set, ...limit);
    const isAsWanted = async () => (await this.#isInAlarm()) === isAlarm;
    if (await until(isAsWanted, { boundMs: SEEN_WITHIN_MS, everyMs: 200 })) return;
    throw new Error(`the broker ${isAlarm ? 'has raised no alarm' : 'is still in alarm'} after ${limit.join(' ')}`);
  }

  /** The check answers 503 during an alarm, which `management` returns as null. */
  async #isInAlarm(): Promise<boolean> {
    return (
      (await management(this.#options.management, 'GET', '/health/checks/local-alarms', undefined, {
        allow: [503],
      })) === null
    );
  }
}
