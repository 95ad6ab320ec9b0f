type Found<Row> = Promise<Row | null>;

/**
 * Reads rows by their ids. All readers of this process share one statement at a time, so any number of them needs one
 * connection. A read begins after its call, so a reader sees all that was committed before.
 */
export class BatchedReads<Row> {
  private readonly wanted = new Map<string, Array<(found: Found<Row>) => void>>();
  private isReading = false;

  /** @param readAll reads rows by their ids, in any order */
  constructor(
    private readonly readAll: (ids: string[]) => Promise<Row[]>,
    private readonly idOf: (row: Row) => string,
  ) {}

  /** The row, or null. @throws the error of the statement */
  find(id: string): Found<Row> {
    return new Promise((resolve) => {
      this.wanted.set(id, [...(this.wanted.get(id) ?? []), resolve]);
      this.begin();
    });
  }

  private begin(): void {
    if (this.isReading || this.wanted.size === 0) return;
    this.isReading = true;
    setImmediate(() => void this.read());
  }

  private async read(): Promise<void> {
    const batch = [...this.wanted];
    this.wanted.clear();
    const found = this.readAll(batch.map(([id]) => id)).then(
      (rows) => new Map(rows.map((row) => [this.idOf(row), row])),
    );
    for (const [id, readers] of batch)
      for (const resolve of readers) resolve(found.then((rows) => rows.get(id) ?? null));
    await found.catch(() => {}); // each reader gets the error
    this.isReading = false;
    this.begin();
  }
}
