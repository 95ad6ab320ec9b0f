/** The longest delay of a Node timer, in milliseconds. */
export const TIMER_MS_MAX = 2_147_483_647;

/**
 * Waits for work for a limited time. The work itself goes on. Its late result or late error has no effect.
 * @param late returns the result, or throws the error, of work that takes longer
 */
export function withTimeout<T, Late>(limitMs: number, work: Promise<T>, late: () => Late): Promise<T | Late> {
  return new Promise((resolve, reject) => {
    const expire = () => {
      try {
        resolve(late());
      } catch (error) {
        reject(error);
      }
    };
    const timer = setTimeout(expire, Math.min(Math.max(1, limitMs), TIMER_MS_MAX));
    work.then(
      (result) => {
        clearTimeout(timer);
        resolve(result);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
