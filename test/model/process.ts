// A process of a model stops at every statement, message and wait. One that the explorer does not choose is paused.

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
  /** No other process sees it, as a message on its way. So it is taken before all others, which loses no order. */
  readonly isUnseen?: boolean;
  /** Further ends of this step, such as a lock wait that times out or an answer that is lost. Each costs one of `faults`. */
  readonly faults?: (() => readonly Fault[]) | undefined;
}

export interface Waiting {
  readonly step: Step;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

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
    /** Processes of one kind run one program, so states that differ by their names alone count once. */
    readonly kind: string,
  ) {}

  /** The next turn of a loop begins: nothing before it is remembered. */
  forget(): void {
    this.seen.length = 0;
    this.named = 0;
  }

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
