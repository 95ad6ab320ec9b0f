/** Bounds the memory of a process to about a megabyte. */
const REMEMBERED_MAX = 10_000;

/** The ids that were added last. */
export class RecentIds {
  private readonly ids = new Set<string>();

  has(id: string): boolean {
    return this.ids.has(id);
  }

  add(id: string): void {
    this.ids.add(id);
    if (this.ids.size > REMEMBERED_MAX) this.ids.delete(this.ids.values().next().value!);
  }
}
