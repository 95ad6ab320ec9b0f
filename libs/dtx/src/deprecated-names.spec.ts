import { expect, test } from 'vitest';
import * as dtx from './index.js';

/** Each name that an application is likely to have itself, and the name with a prefix. */
const NAMES: Array<[old: string, prefixed: string]> = [
  ['Database', 'DtxDatabase'],
  ['Broker', 'DtxBroker'],
  ['Operations', 'DtxOperations'],
  ['migrate', 'migrateDtx'],
  ['NOW', 'DTX_NOW'],
  ['emit', 'emitTelemetry'],
  ['measure', 'emitTelemetry'],
  ['Try', 'TccTry'],
  ['Confirm', 'TccConfirm'],
  ['Cancel', 'TccCancel'],
  ['Confirmed', 'TccConfirmed'],
];

const exported = new Map<string, unknown>(Object.entries(dtx));

test.each(NAMES)('%s is still exported, as an alias of %s', (old, prefixed) => {
  expect(exported.get(prefixed)).toBeDefined();
  expect(exported.get(old)).toBe(exported.get(prefixed));
});

test('the types with a prefix are those without one', () => {
  const contract = {} as dtx.DtxContract<string> satisfies dtx.Contract<string>;
  const migration = {} as dtx.DtxMigration satisfies dtx.Migration;
  const notification = {} as dtx.DtxNotification satisfies dtx.Notification;
  const database = (given: dtx.DtxDatabase): dtx.Database => given;
  expect([contract, migration, notification, database]).toHaveLength(4);
});
