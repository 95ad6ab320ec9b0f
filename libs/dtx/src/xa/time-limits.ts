import type { Logger } from '@nestjs/common';
import { inTimeOf } from '../core/async/time-limit.js';
import { TookTooLong } from '../core/errors/errors.js';
import type { Participant } from './branch.js';
import { XaUnavailable } from './errors.js';

/**
 * A connection may hang for as long as it likes, a transaction must not: past its deadline all waits on connections end.
 * The work may wait for something else, for which there is `late`, which rejects then. Nothing else may be raced with
 * it: what the other steps wait for is what became of the decision.
 */
export async function inTime<T>(
  everybody: readonly Participant[],
  { gid, limitMs }: { gid: string; limitMs: number },
  steps: (late: Promise<never>) => Promise<T>,
): Promise<T> {
  let watchdog: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const end = () => {
      const error = new XaUnavailable(`${gid} took longer than ${limitMs} ms`);
      for (const one of everybody) one.giveUp(error);
      reject(error);
    };
    watchdog = setTimeout(end, limitMs);
  });
  late.catch(() => {}); // heard by the work, if that is what takes so long
  return steps(late).finally(() => clearTimeout(watchdog));
}

/**
 * Waits for the hooks after a commit as long as for the second phase. The transaction is committed: hooks that take longer go
 * on without their caller, whose place is the next one's.
 * @throws what a hook throws in time
 */
export async function followed(
  { gid, limitMs }: { gid: string; limitMs: number },
  hooks: Promise<void>,
  logger: Logger,
): Promise<void> {
  const limit = { what: `a hook after the commit of ${gid}`, limitMs, option: 'xa.secondPhaseWaitMs' };
  await inTimeOf(limit, () => hooks).catch((error) => {
    if (!(error instanceof TookTooLong)) throw error;
    logger.error(`${error.message}: it goes on without its caller (the transaction is committed)`);
    hooks.catch((late: Error) => logger.error(`a late hook of ${gid} failed: ${late.message}`));
  });
}
