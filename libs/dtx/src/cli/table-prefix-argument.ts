import { isTablePrefix, TABLE_PREFIX, TABLE_PREFIX_RULE, TableNames } from '../core/database/table-prefix.js';
import { UsageError } from './command.js';

export const TABLE_PREFIX_OPTION = { 'table-prefix': { type: 'string' } } as const;
export const TABLE_PREFIX_USAGE = `[--table-prefix ${TABLE_PREFIX}]`;

/** The table names of `--table-prefix`, the option `tablePrefix` of `DtxModule`. @throws UsageError */
export function tableNamesFrom({ 'table-prefix': prefix }: { 'table-prefix'?: string | undefined }): TableNames {
  if (prefix !== undefined && !isTablePrefix(prefix))
    throw new UsageError(`--table-prefix: expected ${TABLE_PREFIX_RULE}`);
  return new TableNames(prefix);
}
