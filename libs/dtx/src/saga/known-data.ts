// The data of one running saga, from which the arguments of its steps are made. Held in memory. After a crash it is read
// from the row, and steps that the row does not know are asked again, since their apps have kept the results.
import { acceptedBy, applySchema, type StandardSchema } from '../core/broker/schema.js';
import { DtxError } from '../core/errors/errors.js';
import { copyOfJson } from '../core/json-copy.js';
import { nameOf, type Saga, type SagaScope } from './saga-entries.js';
import type { SagaSignal, StepContract } from './step-contract.js';

/** JSON by the name of an entry: results of steps, payloads of signals. */
export type Results = Readonly<Record<string, unknown>>;

/** Collects results while a saga runs. */
export class KnownData implements SagaScope<unknown> {
  private readonly results: Map<string, unknown>;

  constructor(
    private readonly saga: Saga,
    readonly gid: string,
    private readonly rawInput: unknown,
    results: Results = {},
  ) {
    this.results = new Map(Object.entries(results));
  }

  /** A copy of every read, since the maker of arguments may change it. */
  get input(): unknown {
    const { name, version, input } = this.saga;
    return acceptedBy(input, copyOfJson(this.rawInput), `stored input does not fit saga ${name} v${version}`);
  }

  result<Result>(step: StepContract<unknown, Result>): Result {
    const kept = this.read(step.name, 'result of step');
    const known = step.result ? nullOrNothing(step.result, kept) : (kept ?? undefined);
    if (!step.result || known === undefined) return known as Result;
    return acceptedBy(step.result, known, `result of saga step ${step.name} v${step.version} does not fit`);
  }

  signal<Payload>(signal: SagaSignal<Payload>): Payload {
    const kept = this.read(nameOf({ kind: 'wait', signal, withinMs: null, refusal: null }), 'payload of signal');
    const known = nullOrNothing(signal.payload, kept);
    return acceptedBy(signal.payload, known, `stored payload does not fit saga signal ${signal.name}`);
  }

  set(name: string, result: unknown): void {
    this.results.set(name, result);
  }

  /** Entries that are over without a known result have none. */
  fill(names: readonly string[]): void {
    for (const name of names) if (!this.results.has(name)) this.results.set(name, undefined);
  }

  has(name: string): boolean {
    return this.results.has(name);
  }

  /** As it is stored. A result of nothing is null. */
  get stored(): string {
    return JSON.stringify(Object.fromEntries([...this.results].map(([name, value]) => [name, value ?? null])));
  }

  private read(name: string, what: string): unknown {
    if (!this.results.has(name)) {
      const { name: saga, version } = this.saga;
      throw new DtxError(
        `saga ${saga} v${version} has no ${what} ${name} yet; read only results of groups before this step`,
      );
    }
    return copyOfJson(this.results.get(name) ?? null);
  }
}

/** JSON has no undefined, so nothing is kept as null. The schema tells which of the two it was. */
function nullOrNothing(schema: StandardSchema, kept: unknown): unknown {
  return kept !== null || applySchema(schema, null).ok ? kept : undefined;
}
