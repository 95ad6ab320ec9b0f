import { OptionsError } from '../errors/errors.js';

/** The prefix of table names in the code. */
export const TABLE_PREFIX = 'dtx';

/**
 * A table name in a library statement, with or without quotes. The savepoints, the session variables and the name of
 * a database in backticks are others' names, although they may begin with the same letters.
 */
const IN_CODE = /(?<!SAVEPOINT |@)\bdtx_(?=[a-z])(?![^`]*`\.)/g;

/** Names of the code inside of the prefix would be translated twice. */
const ALLOWED = /^(?!dtx_)[a-z]([a-z0-9_]{0,14}[a-z0-9])?$/;
export const TABLE_PREFIX_RULE =
  '1 to 16 of a-z, 0-9 and _, beginning with a letter, ending with a letter or a number, and not beginning with dtx_';

export const isTablePrefix = (prefix: string) => ALLOWED.test(prefix);

/**
 * The table names of one installation. The statements in the code always have the prefix `dtx`. The sessions of the
 * library translate them, so no scheme knows the prefix. A statement of the user passes them unchanged. Default: `dtx`,
 * which translates nothing.
 */
export class TableNames {
  private readonly isDefault: boolean;

  /** @throws OptionsError for a prefix that breaks `TABLE_PREFIX_RULE` */
  constructor(readonly prefix: string = TABLE_PREFIX) {
    if (!isTablePrefix(prefix))
      throw new OptionsError(`invalid tablePrefix "${prefix}": expected ${TABLE_PREFIX_RULE}`);
    this.isDefault = prefix === TABLE_PREFIX;
  }

  /** The option of the command `nest-dtx` for these tables, after a space. Empty for the default. */
  get argument(): string {
    return this.isDefault ? '' : ` --table-prefix ${this.prefix}`;
  }

  /**
   * A library statement, or a table name, as the database knows it. Values are bound afterwards, so data is never
   * changed. A translated text stays as it is.
   */
  inDatabase(statement: string): string {
    return this.isDefault ? statement : statement.replace(IN_CODE, `${this.prefix}_`);
  }
}

/** The names with the default prefix. */
export const DEFAULT_NAMES = new TableNames();
