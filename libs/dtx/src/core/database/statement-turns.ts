/** Runs the jobs of one connection one after the other. A job that meets no other begins at once. */
export class StatementTurns {
  private last: Promise<unknown> = Promise.resolve();
  private open = 0;
  /** Jobs that wait for something else before they take their turn. */
  private readonly behind = new Set<Promise<unknown>>();

  /** Whether every job is over. */
  get areOver(): boolean {
    return this.open === 0 && this.behind.size === 0;
  }

  /** @param after the job takes its turn when this resolves, and fails if it rejects */
  take<T>(job: () => Promise<T>, after?: Promise<void>): Promise<T> {
    if (after) return this.takeAfter(after, job);
    this.open++;
    const result = this.open === 1 ? job() : this.last.then(job);
    const over = () => {
      this.open--;
    };
    this.last = result.then(over, over);
    return result;
  }

  /** Resolves when every job is over, including those that are added meanwhile. */
  async settled(): Promise<void> {
    while (!this.areOver) await Promise.allSettled([...this.behind, this.last]);
  }

  private takeAfter<T>(after: Promise<void>, job: () => Promise<T>): Promise<T> {
    const over = () => this.behind.delete(result);
    const result = after.then(() => this.take(job));
    this.behind.add(result);
    result.then(over, over);
    return result;
  }
}
