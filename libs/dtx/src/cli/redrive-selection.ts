// Which messages a redrive sends again, and why it leaves the others out. Pure, so each case has a test without a server.

/** A row of `dtx_outbox` or `dtx_half`, as far as its choice is concerned. Lists have the form `,a.b,c.d,`. */
export interface SentRow {
  readonly state: string;
  readonly contract: string;
  /** Null in a row of a version that did not store the consumers. */
  readonly consumers: string | null;
  /** The consumers without a receipt. */
  readonly awaiting: string;
  /** The contract has `receipts: false`. */
  readonly isUnreceipted: boolean;
  /** Whether the row was DONE within the window. */
  readonly isInWindow: boolean;
  /** It was made before the retention of the inboxes, so a receiver would park it. */
  readonly isTooOld: boolean;
}

export interface Selection {
  readonly contract?: string | undefined;
  readonly consumer?: string | undefined;
  /** Also rows with `receipts: false`. */
  readonly isWithoutReceipts: boolean;
}

/** Reasons to leave a row out, with the words of the report. */
export const LEFT_OUT = {
  unreceipted:
    'whose contract has receipts: false; their receivers have no inbox, so add --without-receipts only if these receivers detect duplicates',
  unknown:
    'of an earlier version, which stored no consumers; name them with --contract <name> --consumer <app.consumer>, one run for each consumer',
  parked: 'PARKED; retry or resolve them with POST /dtx/transactions/{id}/retry, then run redrive again',
  old: 'made before the retention of the inboxes; a receiver would park them',
} as const;
export type LeftOut = keyof typeof LEFT_OUT;

/** The consumers that get the message again, a reason, or null for a row outside of the selection. */
export function redriveOf(row: SentRow, selection: Selection): { awaiting: string } | { leftOut: LeftOut } | null {
  const { contract, consumer } = selection;
  const isOpen = row.state !== 'DONE';
  if (contract !== undefined && row.contract !== contract) return null;
  // An open row without receipts is sent to all its consumers anyway.
  if (isOpen ? row.isUnreceipted : !row.isInWindow) return null;
  const known = row.consumers ?? (row.isUnreceipted ? row.awaiting : null);
  if (known === null && (contract === undefined || consumer === undefined))
    return isOpen ? null : { leftOut: 'unknown' };
  const all = known === null ? [consumer!] : namesIn(known);
  const chosen = all.filter((name) => consumer === undefined || name === consumer);
  const awaited = namesIn(row.awaiting);
  const missing = row.isUnreceipted ? chosen : chosen.filter((name) => !awaited.includes(name));
  const isToExchange = all.length === 0 && consumer === undefined;
  if (missing.length === 0 && !isToExchange) return null;
  if (row.isTooOld) return { leftOut: 'old' };
  if (row.state === 'PARKED') return { leftOut: 'parked' };
  if (row.isUnreceipted && !selection.isWithoutReceipts) return { leftOut: 'unreceipted' };
  // A DONE row still lists a consumer for which an operator has resolved it by hand.
  const next = isOpen ? [...awaited, ...missing] : missing;
  return { awaiting: next.length === 0 ? ',' : `,${next.join(',')},` };
}

const namesIn = (list: string) => list.split(',').filter(Boolean);
