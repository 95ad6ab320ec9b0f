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
