// Which instances may get new calls: those whose last `GET /health/ready` was 200.
import { messageOf } from '../cli/error-text.js';
import type { Say } from '../cli/say-type.js';

/** A busy machine is slow to answer. An instance is out after this many checks in a row without an answer in time. */
const SILENT_CHECKS_MAX = 3;

export interface Instance {
  readonly url: string;
  isReady: boolean;
  /** Checks in a row without an answer in time. */
  silentChecks: number;
}

/** Asks each instance in turn. An instance that stops answers 503 from its signal on, so it gets no new call. */
export class InstanceChecks {
  readonly #instances: readonly Instance[];
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #stopped = new AbortController();

  constructor(
    urls: readonly string[],
    private readonly options: { everyMs: number; limitMs: number; say: Say },
  ) {
    this.#instances = urls.map((url) => ({ url, isReady: false, silentChecks: 0 }));
  }

  /** Resolves when each instance has been asked once. */
  async start(): Promise<void> {
    await Promise.all(this.#instances.map((instance) => this.#check(instance)));
    for (const instance of this.#instances) {
      let isRunning = false;
      const look = async () => {
        if (isRunning) return;
        isRunning = true;
        await this.#check(instance);
        isRunning = false;
      };
      this.#timers.push(setInterval(look, this.options.everyMs));
    }
  }

  stop(): void {
    this.#stopped.abort();
    for (const timer of this.#timers) clearInterval(timer);
  }

  ready(): Instance[] {
    return this.#instances.filter(({ isReady }) => isReady);
  }

  /** A connection was refused. The instance is out until its next good check. */
  failed(instance: Instance, error: unknown): void {
    this.#set(instance, messageOf(error));
  }

  async #check(instance: Instance): Promise<void> {
    const limit = AbortSignal.timeout(this.options.limitMs);
    const signal = AbortSignal.any([this.#stopped.signal, limit]);
    const problem = await fetch(`${instance.url}/health/ready`, { signal, headers: { connection: 'close' } }).then(
      async (answer) => {
        await answer.body?.cancel();
        return answer.status === 200 ? '' : `answered ${answer.status}`;
      },
      (error: unknown) => messageOf((error as Error).cause ?? error),
    );
    if (this.#stopped.signal.aborted) return;
    instance.silentChecks = problem && limit.aborted ? instance.silentChecks + 1 : 0;
    if (instance.silentChecks === 0 || instance.silentChecks >= SILENT_CHECKS_MAX) this.#set(instance, problem);
  }

  #set(instance: Instance, problem: string): void {
    const isReady = problem === '';
    if (instance.isReady !== isReady)
      this.options.say(`${instance.url} ${isReady ? 'is ready' : `gets no new call: ${problem}`}`);
    instance.isReady = isReady;
  }
}
