// A small world in which the library's own code runs one step at a time. A process is an asynchronous function that stops at
// every statement, message and wait. The explorer chooses the next step, so a process that is not chosen is paused.

/** The result of a step: a value, or an error that the process gets. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown };

export interface Fault {
  readonly label: string;
  readonly take: () => Outcome;
  /** It happens for free when nothing else can, as a lock wait that ends. */
  readonly isInTheEnd?: boolean;
}

/** One step that a process wants to take. */
export interface Step {
  readonly label: string;
  /** False while it must wait, for a lock or a message. */
  readonly isEnabled: () => boolean;
  readonly take: () => Outcome;
  /** Further ends of this step, such as a lock wait that times out or an answer that is lost. Each costs one of `faults`. */
  readonly faults?: (() => readonly Fault[]) | undefined;
}

interface Waiting {
  readonly step: Step;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** What a crash of one process frees. */
export type OnCrash = (process: Process) => void;

export class Process {
  waiting: Waiting | undefined;
  hasEnded = false;
  isDead = false;
  private named = 0;
  /** Whether it holds a lock. */
  holds = (): boolean => false;
  /** Results of all steps. They determine the local state, since the code is deterministic. */
  readonly seen: string[] = [];

  constructor(
    readonly name: string,
    readonly program: (self: Process) => Promise<unknown>,
    /** Whether the program begins anew after a crash, as another instance or a redelivery does. */
    public again: boolean,
  ) {}

  /** A name that no other process uses. */
  nextName(what: string): string {
    return `${this.name}.${what} ${++this.named}`;
  }

  /** Stops here until the explorer chooses this step. A dead process never goes on. */
  step<T>(step: Step): Promise<T> {
    if (this.isDead) return new Promise(() => {});
    if (this.waiting)
      throw new Error(`${this.name} takes two steps at once: ${this.waiting.step.label}, ${step.label}`);
    return new Promise<T>((resolve, reject) => {
      this.waiting = { step, resolve: resolve as (value: unknown) => void, reject };
    });
  }

  /** Waits for a condition of the world. */
  until(label: string, isTrue: () => boolean): Promise<void> {
    return this.step({ label, isEnabled: isTrue, take: () => ({ value: undefined }) });
  }
}

export interface WorldEvent {
  readonly label: string;
  readonly isOpen: () => boolean;
  /** A fault may also not happen. Any other event happens in the end. */
  readonly isFault: boolean;
  readonly happen: () => void;
}

export interface Budget {
  readonly crashes: number;
  readonly faults: number;
}

const TURNS_MAX = 10_000;

export class World {
  readonly processes: Process[] = [];
  /** Facts that the invariants need and no database holds, such as the answer to a caller. */
  readonly notes: string[] = [];
  private readonly crashed: OnCrash[] = [];
  private readonly states: Array<() => unknown> = [];
  /** One that has happened leaves its place. */
  private readonly events: Array<WorldEvent | undefined> = [];
  private last: Process | undefined;
  private crashes: number;
  private faults: number;
  /** An error that no process may have: a mistake of the model or of the code. */
  failure: string | undefined;

  constructor(budget: Budget) {
    this.crashes = budget.crashes;
    this.faults = budget.faults;
  }

  /** Starts a process. @param again whether it begins anew after a crash */
  spawn(name: string, program: (self: Process) => Promise<unknown>, { again = false } = {}): Process {
    const process = new Process(name, program, again);
    this.processes.push(process);
    program(process).then(
      () => {
        process.hasEnded = true;
      },
      (error) => {
        if (!process.isDead) this.failure = `${name} failed: ${error instanceof Error ? error.stack : String(error)}`;
      },
    );
    return process;
  }

  /** An event of the environment that happens at most once, at any time. */
  once(event: WorldEvent): void {
    this.events.push(event);
  }

  onCrash(listener: OnCrash): void {
    this.crashed.push(listener);
  }

  /** Adds a part to the state that tells two worlds apart. */
  hold(state: () => unknown): void {
    this.states.push(state);
  }

  /** Names of all that may happen next: a step of a process, a fault of its step, its crash, an event. */
  choices(): string[] {
    const found: string[] = [];
    for (const [index, process] of this.processes.entries()) {
      const { waiting } = process;
      if (process.isDead || !waiting) continue;
      if (waiting.step.isEnabled()) found.push(`step ${index}`);
      if (this.faults > 0) for (const at of waiting.step.faults?.().keys() ?? []) found.push(`fault ${index} ${at}`);
      if (this.crashes > 0 && this.mayCrash(process)) found.push(`crash ${index}`);
    }
    for (const [index, event] of this.events.entries())
      if (event?.isOpen() && (!event.isFault || this.faults > 0)) found.push(`event ${index}`);
    return this.isStuck ? [...found, ...this.lastChoices()] : found;
  }

  private lastChoices(): string[] {
    return this.processes.flatMap(({ isDead, waiting }, index) => {
      const faults = isDead ? [] : (waiting?.step.faults?.() ?? []);
      return faults.flatMap((fault, at) => (fault.isInTheEnd ? [`last ${index} ${at}`] : []));
    });
  }

  /**
   * A process that holds no lock is as dead right after its last step as later, since no other process sees the difference. So its
   * crash is tried only there.
   */
  private mayCrash(process: Process): boolean {
    return process === this.last || process.seen.length === 0 || process.holds();
  }

  /** Lets one choice happen, and returns it in words. */
  happen(choice: string): string {
    const [kind, index, at] = choice.split(' ') as [string, number, number];
    if (kind === 'event') return this.occur(Number(index));
    const process = this.processes[index]!;
    if (kind === 'crash') {
      this.crash(process);
      return `${process.name} dies`;
    }
    const { step, resolve, reject } = process.waiting!;
    const { label, take } = kind === 'step' ? step : step.faults!()[at]!;
    if (kind === 'fault') this.faults--;
    process.waiting = undefined;
    this.last = process;
    const outcome = take();
    if ('error' in outcome) {
      process.seen.push(`! ${String(outcome.error)}`);
      reject(outcome.error);
    } else {
      process.seen.push(JSON.stringify(outcome.value) ?? '-');
      resolve(outcome.value);
    }
    return `${process.name}: ${label}`;
  }

  private occur(index: number): string {
    const event = this.events[index]!;
    this.events[index] = undefined;
    if (event.isFault) this.faults--;
    event.happen();
    return event.label;
  }

  /** Until every process stands at its next step. */
  async settled(): Promise<void> {
    const isRunning = ({ isDead, hasEnded, waiting }: Process) => !isDead && !hasEnded && !waiting;
    for (let turns = 0; this.failure === undefined && this.processes.some(isRunning); turns++) {
      if (turns > TURNS_MAX) throw new Error('a process of the model waits for something outside of it');
      await undefined;
    }
  }

  /** Nothing has to happen any more. Only faults and crashes are left. */
  get isAtEnd(): boolean {
    return this.isStuck && this.lastChoices().length === 0;
  }

  private get isStuck(): boolean {
    const isWaiting = ({ isDead, waiting }: Process) => !isDead && waiting?.step.isEnabled() === true;
    return !this.processes.some(isWaiting) && !this.events.some((event) => event && !event.isFault && event.isOpen());
  }

  private crash(process: Process): void {
    this.crashes--;
    process.isDead = true;
    process.waiting = undefined;
    for (const listener of this.crashed) listener(process);
    if (process.again) this.spawn(`${process.name}'`, process.program);
  }

  /** The whole state as text. Two worlds with one text have the same future. */
  key(): string {
    const processes = this.processes.map(({ name, seen, waiting, isDead, hasEnded }) =>
      isDead ? [name] : [name, hasEnded || seen, waiting?.step.label],
    );
    const events = this.events.map((event) => event?.label);
    const rest = this.states.map((state) => state());
    return JSON.stringify([processes, events, this.notes, this.crashes, this.faults, rest]);
  }
}
