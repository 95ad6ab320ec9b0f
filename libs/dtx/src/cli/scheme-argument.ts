import { TABLE_SCHEMES, type TableScheme } from '../schema/schema-components.js';
import { listOf, UsageError } from './command.js';

export const SCHEMES_OPTION = { schemes: { type: 'string' } } as const;
export const SCHEMES_USAGE = `[--schemes ${TABLE_SCHEMES.slice(0, 2).join(',')},...]`;

/** The schemes of `--schemes`. All of them without it. @throws UsageError for an unknown scheme */
export function schemesFrom(text: string | undefined): readonly TableScheme[] {
  if (text === undefined) return TABLE_SCHEMES;
  const names = listOf(text);
  const unknown = names.find((name) => !(TABLE_SCHEMES as readonly string[]).includes(name));
  if (unknown !== undefined || names.length === 0)
    throw new UsageError(`--schemes: unknown scheme "${unknown ?? ''}", expected ${TABLE_SCHEMES.join(', ')}`);
  return names as TableScheme[];
}
