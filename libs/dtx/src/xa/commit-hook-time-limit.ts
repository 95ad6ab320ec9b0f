import type { Logger } from '@nestjs/common';
import { inTimeOf } from '../core/async/user-code-time-limit.js';
import { TookTooLong } from '../core/errors/errors.js';

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
