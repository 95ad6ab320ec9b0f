/** Runs the jobs of one connection one after the other. A job that meets no other begins at once. */
export class StatementTurns {
  private last: Promise<unknown> = Promise.resolve();
  private open = 0;

  /** Whether every job is over. */
  get areOver(): boolean {
    return this.open === 0;
  }

  take<T>(job: () => Promise<T>): Promise<T> {
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
    while (this.open > 0) await this.last;
  }
}
