// One run: an open shop, clients, the nemeses on schedule, then rest and judgement.
import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import { OperatorError } from '../../cli/operator-error.js';
import type { Say } from '../../cli/say-type.js';
import { withProgress } from '../../cli/waits-and-progress.js';
import { writeJson } from '../../infra-files.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import { untilAnswered } from '../../shop/app-calls.js';
import { type Judgement, judge } from './answer-checker.js';
import { Clients, type RouteFigures } from './clients.js';
import { evidenceOf } from './evidence.js';
import type { Evidence } from './history.js';
import { NEMESES, type Nemesis } from './nemeses.js';
import { endOf, type Step, scheduleOf } from './schedule.js';
import { OPENED, Stage } from './stage.js';
import { StepPlayer } from './step-player.js';
import { chosenSteps } from './step-selection.js';

/** Leases, resends and backoffs of the last faults have to run out. A notification that has failed often waits for minutes. */
const SETTLE_MS = 300_000;
const CALLERS = 10;
const READERS = 6;

export interface ChaosOptions {
  readonly say: Say;
  readonly signal: AbortSignal;
  readonly seed: number;
  readonly minutes: number;
  readonly instances: number;
  /** The numbers of the steps to play. All by default. */
  readonly only?: readonly number[] | undefined;
  readonly sandbox: string;
}

/** All that a run has found. */
export interface Verdict extends Judgement {
  readonly evidence: Evidence;
  readonly routes: ReadonlyMap<string, RouteFigures>;
  readonly sandbox: Sandbox;
}

export class ChaosRun {
  readonly #stage: Stage;
  readonly #player: StepPlayer;
  #clients: Clients | null = null;

  constructor(private readonly options: ChaosOptions) {
    setMaxListeners(0, options.signal); // every waiting step listens to it
    this.#stage = new Stage(options);
    this.#player = new StepPlayer(this.#stage, options);
  }

  start(): Promise<void> {
    return this.#stage.open();
  }

  /** Breaks things while clients buy. Returns the steps that were played. */
  async breakThings(): Promise<readonly Step[]> {
    const { minutes, only } = this.options;
    const all = this.#schedule();
    const steps = only ? chosenSteps(all, only) : all;
    const endMs = only ? endOf(steps) : minutes * 60_000;
    this.#clients = new Clients({ instances: this.#stage.byApp, callers: CALLERS, readers: READERS });
    await this.#player.play(steps, { endMs });
    this.options.signal.throwIfAborted();
    return steps;
  }

  #schedule(): Step[] {
    const { seed, minutes, instances, say } = this.options;
    const { control } = this.#stage.behind;
    const can = ({ on, needsControl }: Nemesis) =>
      !needsControl || control[on === 'broker' ? 'rabbitmq' : 'order'].supported;
    const left = NEMESES.filter((nemesis) => !can(nemesis)).map(({ name }) => name);
    if (left.length > 0) say(`left out, since these servers are not run by this command: ${left.join(', ')}`);
    const schedule = scheduleOf({ seed, minutes, instances, can });
    writeJson(join(this.#stage.dir, `schedule-${seed}.json`), schedule);
    return schedule;
  }

  /** After the last fault: every client gets its answer, the system settles, and the checker compares. */
  async judge(): Promise<Verdict> {
    const clients = this.#clients;
    if (!clients) throw new Error('nothing to judge: call breakThings() first, which makes the clients');
    let unsettled: readonly string[] = [];
    const onLook = (open: readonly string[]) => {
      unsettled = open;
    };
    const detail = () => (unsettled.length > 0 ? `, ${unsettled.length} open, such as: ${unsettled[0]}` : '');
    const work = async () => {
      await clients.stop({ boundMs: 60_000 });
      await this.#stage.untilAllReady();
      await this.#stage.byApp.inventory[0]!.operator.settleFailedHandlers();
      await clients.replay();
      await this.#untilReadable();
      const { behind } = this.#stage;
      const judgement = await judge(behind.sandbox, clients, {
        settleMs: SETTLE_MS,
        opened: BigInt(OPENED),
        onLook,
      });
      const evidence = await evidenceOf(behind, judgement, {
        begun: this.#player.begun,
        failed: this.#player.failed,
        byOperator: this.#stage.byOperator,
      });
      return { ...judgement, evidence, routes: clients.routes, sandbox: behind.sandbox };
    };
    return withProgress(work, { say: this.options.say, what: 'coming to rest', detail });
  }

  async #untilReadable(): Promise<void> {
    const url = `${this.#stage.byApp.order[0]!.url}/orders?limit=1`;
    if (!(await untilAnswered('GET', () => url, { boundMs: 30_000 }))) throw new OperatorError('no orders can be read');
  }

  /** In the order in which they need each other. */
  async stop(): Promise<void> {
    await this.#player.endAll();
    await this.#stage.close();
  }
}
