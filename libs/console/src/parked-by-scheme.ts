import type { SummaryRow } from './types.js';

/** The parked rows of one scheme. `first` is the row of the summary where they are offered. */
export interface Parked {
  readonly scheme: string;
  readonly count: number;
  readonly first: SummaryRow;
}

/** A retry of all takes the rows of every table of a scheme, so its preview adds them up. */
export function parkedByScheme(rows: readonly SummaryRow[]): Parked[] {
  const parked = rows.filter((row) => row.parked > 0);
  return [...new Set(parked.map(({ scheme }) => scheme))].map((scheme) => {
    const of = parked.filter((row) => row.scheme === scheme);
    return { scheme, count: of.reduce((sum, row) => sum + row.parked, 0), first: of[0] as SummaryRow };
  });
}
