// The counts as tables for the terminal.
import { formatTable } from '../../cli/table.js';
import type { Count } from './counting-pass.js';

/** Rarer statements belong to scans and housekeeping. */
const SHOWN_FROM = 0.02;
const SHAPE_LENGTH = 150;

export function countTable(counted: ReadonlyMap<string, Count>): string {
  const rows = [...counted].map(([name, one]) => [
    name,
    ...[one.roundTrips, one.statements, one.commits, one.fsyncs, one.messages].map((number) => number.toFixed(1)),
  ]);
  return formatTable(['per purchase', 'SQL packets', 'statements', 'commits', 'fsyncs', 'messages'], rows);
}

/** Which statements were sent in packets of their own, most frequent first. */
export function shapeTables(counted: ReadonlyMap<string, Count>): string {
  return [...counted].map(([name, { shapes }]) => `${name}\n${shapeTable(shapes)}`).join('\n\n');
}

function shapeTable(shapes: Count['shapes']): string {
  const shown = shapes.filter(({ perPurchase }) => perPurchase >= SHOWN_FROM);
  const rows = [...shown]
    .sort((a, b) => b.perPurchase - a.perPurchase)
    .map(({ database, shape, perPurchase }) => [perPurchase.toFixed(2), database, shape.slice(0, SHAPE_LENGTH)]);
  return formatTable(['packets', 'database', 'statement'], rows);
}
