import { z } from 'zod';

export const REASON_CHARS_MAX = 1_000;
/** The length of a reason in a row, as of a refusal. */
export const REASON_STORED_MAX = 64;

export const callBody = z.object({
  callId: z.string().max(64),
  gid: z.string().regex(/^[0-9A-Za-z_.:-]{1,64}$/),
  initiator: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/),
  incarnation: z.string().regex(/^[0-9a-f]{16}$/),
  saga: z.string().max(65),
  kind: z.enum(['checking', 'compensable', 'pivot', 'retriable']),
  /** `fence`: learn whether a pivot has run, and keep it from running if it has not. */
  phase: z.enum(['do', 'undo', 'fence']),
  /** Of a Do. Undo gets the arguments that the Do has kept. */
  args: z.unknown().optional(),
  reason: z.string().max(REASON_STORED_MAX).optional(),
  /** The earliest time at which a call of this step may have been made, by the clock of the initiator's database. */
  since: z.iso.datetime(),
  takesSeveral: z.boolean().optional(),
});
export type Call = z.output<typeof callBody>;

/**
 * Answer of a step on the wire, see docs/wire.md. `refused`: a definite no, which every repeat gets as well. `late`: a Do
 * after its Undo. `failed`: an error, may be repeated. `away`: the database of the step is unavailable, which does not
 * count as an attempt. `illegal`: the barrier refused the call and raised an alert.
 */
export const answerBody = z.object({
  callId: z.string().max(64),
  verdict: z.enum(['ok', 'refused', 'late', 'failed', 'away', 'illegal']),
  reason: z.string().max(REASON_CHARS_MAX).optional(),
  /** Of a Do that is done, and of a fence that came after it. Missing: the Do has returned nothing. */
  result: z.unknown().optional(),
  /** Of a fence: whether the pivot has run. */
  isDone: z.boolean().optional(),
  /** With `away`: a needed row is locked, or no place is free. */
  isBusy: z.boolean().optional(),
});
export type Answer = z.output<typeof answerBody>;
export type Verdict = Omit<Answer, 'callId'>;

/** Cuts a reason to the length of its field. */
export function cut(reason: string, charsMax = REASON_CHARS_MAX): string {
  return reason.slice(0, charsMax);
}

/** The queue of a step's calls. */
export function callQueueOf({ name, version }: { readonly name: string; readonly version: number }): string {
  return `dtx.${name.replace('.', '.saga-')}.v${version}`;
}

/** The queue of answers for one process of an initiator. */
export function answerQueueOf(app: string, processId: string): string {
  return `dtx.${app}.saga-answers.${processId}`;
}

/** Whether a queue is an answer queue of an initiator. */
export function isAnswerQueue(queue: string): boolean {
  return /^dtx\.[a-z][a-z0-9-]{0,31}\.saga-answers\.[0-9a-f-]{36}$/.test(queue);
}
