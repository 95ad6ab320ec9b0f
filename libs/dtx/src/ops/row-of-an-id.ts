/** Chooses the row that an id means, if several schemes know it. */
import type { OperationsSource, SingleView } from '../core/durable/operations-registry.js';

/** A row with the source that can act on it. */
export interface FoundRow {
  readonly source: OperationsSource;
  readonly view: SingleView;
}

/** The rows that schemes of this app have under an id. */
export async function rowsOf(sources: readonly OperationsSource[], id: string): Promise<FoundRow[]> {
  const views = await Promise.all(sources.map((source) => source.get(id)));
  return sources.flatMap((source, index) => (views[index] ? [{ source, view: views[index] }] : []));
}

/**
 * The row that `/dtx` shows for an id and acts on. Callers choose ids, so two schemes may know one. The parked row goes
 * first, since it waits for an operator. Then comes an open row, then a settled one. Among equals the oldest row wins.
 */
export async function firstForOperator(found: readonly FoundRow[]): Promise<FoundRow | undefined> {
  const rows = [...found].sort((a, b) => a.view.createdAt.localeCompare(b.view.createdAt));
  const parked = rows.find(({ view }) => view.state === 'PARKED');
  if (parked || rows.length < 2) return parked ?? rows[0];
  const areOpen = await Promise.all(rows.map(isOpen));
  return rows.find((_, index) => areOpen[index]) ?? rows[0];
}

/** A row that waits for a signal is open and has no due time. Its source counts open states only. */
async function isOpen({ source, view }: FoundRow): Promise<boolean> {
  const { scheme, state, nextAttemptAt } = view;
  return nextAttemptAt !== null || (await source.count({ scheme, state })) > 0;
}
