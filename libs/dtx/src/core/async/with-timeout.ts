/** The longest delay of a Node timer, in milliseconds. */
const TIMER_MS_MAX = 2_147_483_647;

/**
 * Waits for work for a limited time. The work itself goes on. Its late result or late error has no effect.
 * @param late returns the result, or throws the error, of work that takes longer
 */
export async function withTimeout<T, Late>(limitMs: number, work: Promise<T>, late: () => Late): Promise<T | Late> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<Late>((resolve, reject) => {
    const expire = () => {
      try {
        resolve(late());
      } catch (error) {
        reject(error);
      }
    };
    timer = setTimeout(expire, Math.min(Math.max(1, limitMs), TIMER_MS_MAX));
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
