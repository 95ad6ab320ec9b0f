// Calls and answers of steps 2 and 4 as they are sent, see docs/wire.md.
import { z } from 'zod';
import { isAnswerQueue } from './participant-contract.js';

export const REASON_CHARS_MAX = 1_000;

export const callBody = z.object({
  callId: z.string().max(64),
  gid: z.string().regex(/^[0-9A-Za-z_.:-]{1,64}$/),
  branch: z.int().min(0).max(1_000),
  /** Missing in calls of the version before, which ignores both fields. */
  initiator: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/)
    .optional(),
  incarnation: z
    .string()
    .regex(/^[0-9A-Za-z_]{1,16}$/)
    .optional(),
  phase: z.enum(['try', 'confirm', 'cancel']),
  args: z.unknown(),
  reason: z.string().max(64).optional(),
  decidedAt: z.iso.datetime().optional(),
  takesSeveral: z.boolean().optional(),
});
export type Call = z.output<typeof callBody>;
/** The caller's part of a call. The rest comes from the branch and this process. */
export type CallDetails = Omit<Call, 'callId' | 'initiator' | 'branch' | 'args' | 'takesSeveral'>;

/**
 * Answer of a participant on the wire, see docs/wire.md. `refused`: a definite no. `failed`: an error, may be repeated.
 * `away`: the participant's database is unavailable, which does not count as an attempt. `illegal`: the barrier refused
 * the call and raised an alert.
 */
export const answerBody = z.object({
  callId: z.string().max(64),
  verdict: z.enum(['ok', 'refused', 'failed', 'away', 'illegal']),
  reason: z.string().max(REASON_CHARS_MAX).optional(),
  /** With `away`: a needed row is locked. An initiator of the version before knows `away` only. */
  isBusy: z.boolean().optional(),
});
export type Answer = z.output<typeof answerBody>;
export type Verdict = Omit<Answer, 'callId'>;

/** The app that owns this answer queue. Identifies callers of a version that sends no `initiator`. */
export function callerOf(replyTo: string | undefined): string | undefined {
  return replyTo && isAnswerQueue(replyTo) ? replyTo.split('.')[1] : undefined;
}
