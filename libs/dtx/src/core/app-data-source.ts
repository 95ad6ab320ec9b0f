import type { InjectionToken, Provider } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { OptionsError } from './errors/errors.js';

/** Injection token of the app's DataSource: its business tables and the tables of the library are there. */
export const DATA_SOURCE = Symbol('dtx data source');

/** Name of the DataSource that `TypeOrmModule.forRoot` registers without a name. */
const DEFAULT_NAME = 'default';
/** TypeORM drivers for MySQL and MariaDB. */
const SUPPORTED_TYPES = ['mysql', 'mariadb'];

/**
 * Provides the app's DataSource.
 * @param of the `name` in `TypeOrmModule.forRoot({ name })`, or the injection token of a DataSource, such as
 *   `getDataSourceToken(name)`. The default is the DataSource without a name.
 */
export function dataSourceProvider(of: InjectionToken = DEFAULT_NAME): Provider {
  const tokens = tokensOf(of);
  return {
    provide: DATA_SOURCE,
    useFactory: (...found: unknown[]) => checked(of, found),
    inject: tokens.map((token) => ({ token, optional: true })),
  };
}

/** `@nestjs/typeorm` makes its token from the name like this. A text may also be the token itself. */
function tokensOf(of: InjectionToken): InjectionToken[] {
  if (of === DEFAULT_NAME) return [DataSource];
  return typeof of === 'string' ? [`${of}DataSource`, of] : [of];
}

/** @throws OptionsError for a missing DataSource, or one for another kind of server */
function checked(of: InjectionToken, found: readonly unknown[]): DataSource {
  const source = found.find(isDataSource);
  if (!source) throw new OptionsError(missing(of));
  const { type } = source.options;
  if (SUPPORTED_TYPES.includes(type)) return source;
  throw new OptionsError(
    `DtxModule cannot use a DataSource of type ${type}; use the option dataSource to name one of type mysql or mariadb`,
  );
}

function isDataSource(one: unknown): one is DataSource {
  return typeof one === 'object' && one !== null && 'createQueryRunner' in one;
}

function missing(of: InjectionToken): string {
  if (of === DEFAULT_NAME || of === DataSource)
    return 'DtxModule found no DataSource; import TypeOrmModule.forRoot, or name another DataSource by the option dataSource';
  const name = typeof of === 'function' ? of.name : String(of);
  return `DtxModule found no DataSource for dataSource: ${name}; import TypeOrmModule.forRoot with that name`;
}
