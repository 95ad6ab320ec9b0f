import type { Command, Done, RawConnection } from './mysql2-types.js';

type Query = new (options: object, done: Done) => Command;

/**
 * The form of the answers to library statements, independent of the pool options. Rows are objects. Times, large
 * numbers and JSON are text.
 */
const readAs = (sql: string) => ({
  sql,
  values: undefined,
  rowsAsArray: false,
  nestTables: false,
  typeCast: true,
  dateStrings: true,
  supportBigNumbers: true,
  bigNumberStrings: true,
  decimalNumbers: false,
  jsonStrings: true,
});

/**
 * Sends statements of the library on a connection, by its `query` method. mysql2 takes a command as it is, but copies options
 * one by one, up to 7 % of the CPU of an app. A mysql2 without `createQuery` gets the options.
 */
export function libraryQueries(connection: RawConnection, query: RawConnection['query']) {
  const Query = commandClassOf(connection);
  return (sql: string, done: Done): Command =>
    Query ? query.call(connection, new Query(readAs(sql), done)) : query.call(connection, readAs(sql), done as never);
}

function commandClassOf(connection: RawConnection): Query | undefined {
  type Maker = (sql: string, values: undefined, done: undefined, config: object) => object;
  const { createQuery } = connection.constructor as { createQuery?: Maker };
  return createQuery?.('', undefined, undefined, connection.config).constructor as Query | undefined;
}
