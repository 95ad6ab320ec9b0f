// A small world in which the library's own code runs one step at a time, and the explorer chooses the next step.
import { Process, type Waiting } from './process.js';

/** What a crash of one process frees. */
export type OnCrash = (process: Process) => void;

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
  spawn(name: string, program: (self: Process) => Promise<unknown>, { again = false, kind = name } = {}): Process {
    const process = new Process(name, program, again, kind);
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

  /** Names of all that may happen next: a step of a process, a fault of its step, its crash, an event, an accident. */
  choices(): string[] {
    const found: string[] = [];
    for (const [index, process] of this.processes.entries()) {
      const { waiting } = process;
      if (process.isDead || !waiting) continue;
      const own = this.choicesOf(process, waiting, index);
      if (waiting.step.isUnseen) return own;
      found.push(...own);
    }
    for (const [index, event] of this.events.entries())
      if (event?.isOpen() && (!event.isFault || this.faults > 0))
        found.push(`${event.isFault ? 'accident' : 'event'} ${index}`);
    return this.isStuck ? [...found, ...this.lastChoices()] : found;
  }

  private choicesOf(process: Process, { step }: Waiting, index: number): string[] {
    const found = step.isEnabled() ? [`step ${index}`] : [];
    if (this.faults > 0) for (const at of step.faults?.().keys() ?? []) found.push(`fault ${index} ${at}`);
    if (this.crashes > 0 && this.mayCrash(process)) found.push(`crash ${index}`);
    return found;
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
    if (kind === 'event' || kind === 'accident') return this.occur(Number(index));
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
    if (process.again) this.spawn(`${process.name}'`, process.program, { kind: `${process.kind}'` });
  }

  /** The whole state as text. Two worlds with one text have the same future. */
  key(): string {
    const running = this.processes
      .filter(({ isDead, hasEnded }) => !isDead && !hasEnded)
      .map(({ name, kind, seen, waiting }) => ({
        name,
        kind,
        state: JSON.stringify([kind, seen, waiting?.step.label]),
      }))
      .sort((one, other) => (one.state < other.state ? -1 : 1));
    const events = this.events.map((event) => event?.label);
    const rest = this.states.map((state) => state());
    const states = running.map(({ state }) => state);
    const text = JSON.stringify([states, events, this.notes, this.crashes, this.faults, rest]);
    return running.reduce(
      (renamed, { name, kind }, place) => (name === kind ? renamed : renamed.replaceAll(`"${name}.`, `"#${place}.`)),
      text,
    );
  }
}
