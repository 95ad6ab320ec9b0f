/**
 * The steps of the library that a tracer may see, such as a bridge to OpenTelemetry. Without a tracer a step costs one
 * comparison. The core knows no tracing library.
 */

import { currentGid } from './trace-and-gid-context.js';

/** A step of a protocol. */
export interface Step {
  /** `create` stores a message, `publish` sends it, `process` runs its handler. Others are phases of a scheme. */
  readonly operation: string;
  /** A queue, a consumer, a contract or a participant. */
  readonly target: string;
  readonly scheme: string;
  readonly gid?: string | null | undefined;
  readonly messageId?: string | undefined;
  /** True if the work resolves to the id of the message. */
  readonly returnsMessageId?: boolean;
  /**
   * True for work that a message or a stored row causes. Its parent is `currentTraceparent()`. The parent of any other step is
   * the active span of the caller, if the tracer knows one.
   */
  readonly isCausedByMessage?: boolean;
}

/** Runs the work of a step, and returns what it returns. The work may be asynchronous. */
export type StepTracer = <T>(step: Step, work: () => T) => T;

let tracer: StepTracer | undefined;

/**
 * Installs a tracer for all steps of this process. The last one counts. Returns the function that removes it.
 * @example
 *   const remove = traceSteps((step, work) => { console.log(step.operation, step.target); return work(); });
 */
export function traceSteps(given: StepTracer): () => void {
  tracer = given;
  return () => {
    if (tracer === given) tracer = undefined;
  };
}

/** Runs work as a step. */
export function tracedStep<T>(step: Step, work: () => T): T {
  return tracer ? tracer(step, work) : work();
}

// biome-ignore lint/suspicious/noExplicitAny: a method of any signature
type Method = (...args: any[]) => any;

/** The step of a call that stores or sends a message of a contract. */
export function createStep(scheme: string, { name, version }: { name: string; version: number }): Step {
  return { operation: 'create', target: `${name}.v${version}`, scheme, gid: currentGid() };
}

/** Makes each call of a method a step. */
export function Traced<Args extends unknown[]>(describe: (...args: Args) => Step) {
  return (_target: object, _name: string, descriptor: TypedPropertyDescriptor<Method>): void => {
    const method = descriptor.value!;
    descriptor.value = function (this: unknown, ...args: unknown[]) {
      const step = tracer && describedBy(() => describe(...(args as Args)));
      return tracer && step ? tracer(step, () => method.apply(this, args)) : method.apply(this, args);
    };
  };
}

/** Undefined for arguments that have no step. The method itself refuses them. */
function describedBy(describe: () => Step): Step | undefined {
  try {
    return describe();
  } catch {
    return undefined;
  }
}
