import type { Logger } from '@nestjs/common';
import { inTimeOf } from '../core/async/user-code-time-limit.js';
import { TookTooLong } from '../core/errors/errors.js';
import type { Participant } from './branch.js';
import { XaUnavailable } from './xa-unavailable.js';

/**
 * Ends all waits on connections at the transaction's deadline, since a connection may hang for any time. `late` rejects
 * then, for work that waits for something else. Only the work may race with it: the other steps wait for the fate of
 * the decision.
 */
export async function withinDeadline<T>(
  participants: readonly Participant[],
  { gid, limitMs }: { gid: string; limitMs: number },
  steps: (late: Promise<never>) => Promise<T>,
): Promise<T> {
  let watchdog: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const end = () => {
      const error = new XaUnavailable(`${gid} took longer than ${limitMs} ms`);
      for (const one of participants) one.giveUp(error);
      reject(error);
    };
    watchdog = setTimeout(end, limitMs);
  });
  late.catch(() => {}); // the race with the work reports the error
  return steps(late).finally(() => clearTimeout(watchdog));
}

/**
 * Waits for the afterCommit hooks, as long as for the second phase. The transaction is committed, so slower hooks go on
 * without their caller and free its place.
 * @throws the error of a hook that fails in time
 */
export async function awaitHooks(
  { gid, limitMs }: { gid: string; limitMs: number },
  hooks: Promise<void>,
  logger: Logger,
): Promise<void> {
  const limit = { what: `a hook after the commit of ${gid}`, limitMs, option: 'xa.secondPhaseWaitMs' };
  await inTimeOf(limit, () => hooks).catch((error) => {
    if (!(error instanceof TookTooLong)) throw error;
    logger.error(`${error.message}; the hook goes on without its caller (the transaction is committed)`);
    hooks.catch((late: Error) =>
      logger.error(`a late hook of ${gid} failed (the transaction is committed): ${late.message}`),
    );
  });
}
