import { CannotExecuteNotConnectedError, ConnectionIsNotSetError } from 'typeorm';
import { describe, expect, it } from 'vitest';
import {
  BrokerUnavailable,
  DatabaseUnavailable,
  DtxError,
  OutcomeUnknown,
  Rejected,
  TookTooLong,
  Unconfirmed,
} from './errors.js';
import {
  effectOf,
  errnoOf,
  isAccountRefused,
  isBusy,
  isCondemned,
  isDatabaseAway,
  isDeadlock,
  isDuplicateKey,
  isLockWait,
  isOutcomeUnknown,
  isPassing,
  isStarved,
  isUnavailable,
} from './sql-errors.js';

const server = (errno: number) => Object.assign(new Error('of the server'), { errno });
/** As mysql2 marks it. */
const network = (code: string, syscall?: string) => Object.assign(new Error(code), { code, syscall, fatal: true });

/** What each question answers for an error, by the names of those that say yes. */
function answersFor(error: unknown): string[] {
  const questions = {
    isDuplicateKey,
    isLockWait,
    isDeadlock,
    isDatabaseAway,
    isCondemned,
    isStarved,
    isPassing,
    isAccountRefused,
    isUnavailable,
    isOutcomeUnknown,
  };
  return Object.entries(questions).flatMap(([name, ask]) => (ask(error) ? [name] : []));
}

describe('an error of a server', () => {
  it.each([
    ['a duplicate key', 1062, ['isDuplicateKey']],
    ['a lock wait timeout', 1205, ['isLockWait', 'isUnavailable']],
    ['a refused NOWAIT of MySQL', 3572, ['isLockWait', 'isUnavailable']],
    ['a deadlock', 1213, ['isDeadlock', 'isUnavailable']],
    ['a snapshot conflict of MariaDB', 1020, ['isDeadlock', 'isUnavailable']],
    ['an XA deadlock of MySQL', 1614, ['isDeadlock', 'isUnavailable']],
    ['a shutdown', 1053, ['isDatabaseAway', 'isUnavailable', 'isOutcomeUnknown']],
    ['a COMMIT that failed in its cluster', 1180, ['isDatabaseAway', 'isUnavailable', 'isOutcomeUnknown']],
    ['a killed connection', 1927, ['isDatabaseAway', 'isUnavailable', 'isOutcomeUnknown']],
    ['a silence that was too long', 4031, ['isDatabaseAway', 'isUnavailable', 'isOutcomeUnknown']],
    ['too many connections', 1040, ['isDatabaseAway', 'isPassing', 'isUnavailable']],
    ['a transaction rolled back by Group Replication', 3101, ['isDeadlock', 'isUnavailable']],
    ['a full disk', 1021, ['isStarved', 'isPassing', 'isUnavailable']],
    ['a server without writes', 1290, ['isDatabaseAway', 'isCondemned', 'isPassing', 'isUnavailable']],
    [
      'a node that has left its cluster',
      1047,
      ['isDatabaseAway', 'isCondemned', 'isPassing', 'isUnavailable', 'isOutcomeUnknown'],
    ],
    ['a wrong password', 1045, ['isAccountRefused']],
    ['a syntax error', 1064, []],
    ['a value that is too long', 1406, []],
  ])('is classified by its number: %s', (_, errno, expected) => {
    expect(answersFor(server(errno))).toEqual(expected);
    expect(answersFor({ driverError: server(errno) })).toEqual(expected);
    expect(errnoOf({ driverError: server(errno) })).toBe(errno);
  });
});

describe('an error of a connection', () => {
  it.each(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETDOWN', 'PROTOCOL_CONNECTION_LOST'])(
    'leaves the outcome unknown if it ended an open connection: %s',
    (code) => {
      expect(answersFor(network(code, 'read'))).toEqual(['isDatabaseAway', 'isUnavailable', 'isOutcomeUnknown']);
    },
  );

  it.each(['ECONNREFUSED', 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'POOL_CLOSED'])(
    'means that nothing was sent without a connection: %s',
    (code) => {
      expect(answersFor(network(code, 'connect'))).toEqual(['isDatabaseAway', 'isUnavailable']);
    },
  );

  it('means that nothing was sent if connecting itself has failed', () => {
    expect(isOutcomeUnknown(network('ETIMEDOUT', 'connect'))).toBe(false);
  });

  it.each(['Pool is closed.', 'Queue limit reached.', 'No connections available.'])(
    'is recognized by the text of the pool: %s',
    (message) => {
      expect(isDatabaseAway(new Error(message))).toBe(true);
    },
  );

  it('is recognized after the connection was closed', () => {
    const text = "Can't add new command when connection is in closed state";
    expect(isDatabaseAway(Object.assign(new Error(text), { fatal: true }))).toBe(true);
  });

  it.each([CannotExecuteNotConnectedError, ConnectionIsNotSetError])('is recognized before it is open: %s', (Known) => {
    expect(isDatabaseAway(new Known('mysql'))).toBe(true);
  });

  it.each(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'ETIMEDOUT', 'EPIPE'])(
    'says nothing of the database if another client threw it: %s',
    (code) => {
      const ofOther = Object.assign(new Error(code), { code, errno: -111, syscall: 'connect' });
      expect(answersFor(ofOther)).toEqual([]);
      expect(answersFor(Object.assign(ofOther, { syscall: 'read' }))).toEqual([]);
      expect(answersFor({ driverError: ofOther })).toContain('isUnavailable');
    },
  );

  it.each(['the session is not established', 'The pool is closed for the season', 'in closed state'])(
    'is not recognized by a text of the app: %s',
    (message) => {
      expect(answersFor(new Error(message))).toEqual([]);
    },
  );
});

describe('an error of the library', () => {
  it.each([
    [new DatabaseUnavailable('reading', new Error('x')), ['isDatabaseAway', 'isUnavailable']],
    [new BrokerUnavailable('x'), ['isUnavailable']],
    [new Unconfirmed('x'), ['isUnavailable', 'isOutcomeUnknown']],
    [new OutcomeUnknown('x'), ['isUnavailable', 'isOutcomeUnknown']],
    [new Rejected('OUT_OF_STOCK'), []],
    [new TookTooLong('x'), []],
    [new DtxError('x'), []],
  ])('is classified by its class: %s', (error, expected) => {
    expect(answersFor(error)).toEqual(expected);
  });
});

describe('any other thrown value', () => {
  it.each([[undefined], [null], ['a text'], [new TypeError('a bug')], [{}]])('is none of them: %j', (value) => {
    expect(answersFor(value)).toEqual([]);
    expect(errnoOf(value)).toBe(0);
  });
});

describe('effectOf', () => {
  it.each([
    [1062, 'none'],
    [1064, 'none'],
    [1305, 'no savepoint'],
    [1213, 'ended'],
    [1927, 'ended'],
    [1205, 'unknown'],
    [9_999, 'unknown'],
  ])('tells what error %i has left of its transaction: %s', (errno, effect) => {
    expect(effectOf(server(errno))).toBe(effect);
  });

  it("takes a transaction for ended after an error that is not the server's", () => {
    expect(effectOf(network('ECONNRESET', 'read'))).toBe('ended');
    expect(effectOf(new Error('x'))).toBe('ended');
  });
});

describe('isBusy', () => {
  it('is true for rows that others have locked, and for nothing else', () => {
    expect([1205, 3572, 1213, 1040, 1062].map((errno) => isBusy(server(errno)))).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });
});
