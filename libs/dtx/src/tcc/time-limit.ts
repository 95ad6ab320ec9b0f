/** Null when it takes longer: a connection may hang for as long as it likes, a caller must not. */
export async function within<T>(limitMs: number, work: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, limitMs, null);
  });
  return Promise.race([work, limit]).finally(() => clearTimeout(timer));
}
