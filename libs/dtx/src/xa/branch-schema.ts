import { type SchemaWindow, windowText } from '../core/database/schema-window.js';
import type { TableNames } from '../core/database/table-prefix.js';
import { WITNESS, WITNESS_VERSION } from './xa-tables.js';

/** A component of a branch database to which this program may not write. */
export interface SchemaFault {
  readonly text: string;
  /** The owning app can remedy it by a migration. Otherwise this program is too old. */
  readonly isBehind: boolean;
}

/**
 * Compares a branch database with the versions that this program writes to. The app of that database migrates it at its
 * own time, so an older program goes on inside of the window that the newest migration has recorded. A newer one waits,
 * because it may write to columns that are not there yet.
 */
export function schemaFaults(
  schema: Readonly<Record<string, number>>,
  windows: ReadonlyMap<string, SchemaWindow>,
  names: TableNames,
): SchemaFault[] {
  return Object.entries({ ...schema, [WITNESS]: WITNESS_VERSION }).flatMap(([component, version]): SchemaFault[] => {
    const window = windows.get(component);
    if (!window || window.latest < version)
      return [{ text: behindText(component, version, window, names), isBehind: true }];
    if (window.from > version) return [{ text: newerText(component, version, window), isBehind: false }];
    return [];
  });
}

function behindText(
  component: string,
  version: number,
  window: SchemaWindow | undefined,
  { argument }: TableNames,
): string {
  const remedy =
    component === WITNESS
      ? `import XaModule.forParticipant() into its app, or run npx nest-dtx migrate${argument} --schemes xa-participant there`
      : 'deploy the new version of its app first, or apply its migrations';
  return `has ${component} at version ${window?.latest ?? 'none'}, not ${version} (${remedy})`;
}

function newerText(component: string, version: number, window: SchemaWindow): string {
  const remedy =
    window.from > window.statedFrom
      ? `deploy this program with that version, or state compatibleFrom if the migration to version ${window.from} only adds`
      : `deploy this program with version ${window.from} or later`;
  return `has ${component} at ${windowText(window)}, not ${version} (${remedy})`;
}
