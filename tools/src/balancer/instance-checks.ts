// Which instances may get new calls: those whose last `GET /health/ready` was 200.
import { messageOf } from '../cli/error-text.js';
import type { Say } from '../cli/say-type.js';

const CHECK_LIMIT_MS = 2_000;

export interface Instance {
  readonly url: string;
  isReady: boolean;
}

/** Asks each instance in turn. An instance that stops answers 503 from its signal on, so it gets no new call. */
export class InstanceChecks {
  readonly #instances: readonly Instance[];
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #stopped = new AbortController();

  constructor(
    urls: readonly string[],
    private readonly options: { everyMs: number; say: Say },
  ) {
    this.#instances = urls.map((url) => ({ url, isReady: false }));
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
    const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(CHECK_LIMIT_MS)]);
    const problem = await fetch(`${instance.url}/health/ready`, { signal, headers: { connection: 'close' } }).then(
      async (answer) => {
        await answer.body?.cancel();
        return answer.status === 200 ? '' : `answered ${answer.status}`;
      },
      (error: unknown) => messageOf((error as Error).cause ?? error),
    );
    if (!this.#stopped.signal.aborted) this.#set(instance, problem);
  }

  #set(instance: Instance, problem: string): void {
    const isReady = problem === '';
    if (instance.isReady !== isReady)
      this.options.say(`${instance.url} ${isReady ? 'is ready' : `gets no new call: ${problem}`}`);
    instance.isReady = isReady;
  }
}
