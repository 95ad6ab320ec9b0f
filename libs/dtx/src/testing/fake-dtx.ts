import type { Provider } from '@nestjs/common';
import { ConfirmedMessages } from '../confirmed-publish/index.js';
import { SharedTransactions } from '../core/database/transactions-of-callers.js';
import { HalfMessages } from '../half-message/index.js';
import { LocalMessages } from '../local-message/index.js';
import { Notifications } from '../notify/index.js';
import { Sagas } from '../saga/index.js';
import { Tcc } from '../tcc/index.js';
import { Xa } from '../xa/index.js';
import { FakeLocalMessages } from './fake-local-messages.js';
import { FakeConfirmedMessages, FakeHalfMessages } from './fake-messages.js';
import { FakeNotifications, type FakeNotificationsOptions } from './fake-notifications.js';
import { FakeSagas } from './fake-sagas.js';
import { FakeSharedTransactions } from './fake-shared-transactions.js';
import { FakeTcc } from './fake-tcc.js';
import { FakeDataSource } from './fake-transaction.js';
import { FakeXa, type FakeXaOptions } from './fake-xa.js';

/** All fakes, and the providers that put them in the place of the services. */
export interface FakeDtx {
  readonly localMessages: FakeLocalMessages;
  readonly halfMessages: FakeHalfMessages;
  readonly confirmedMessages: FakeConfirmedMessages;
  readonly tcc: FakeTcc;
  readonly sagas: FakeSagas;
  readonly xa: FakeXa;
  readonly notifications: FakeNotifications;
  readonly sharedTransactions: FakeSharedTransactions;
  /** Not among `providers`. Provide it as `DataSource` if the code under test opens transactions. */
  readonly dataSource: FakeDataSource;
  readonly providers: Provider[];
}

/**
 * Makes fakes of all services of the library, for unit tests without a database and without a broker.
 * @example
 *   const dtx = fakeDtx();
 *   const module = await Test.createTestingModule({
 *     providers: [Orders, ...dtx.providers, { provide: DataSource, useValue: dtx.dataSource }],
 *   }).compile();
 *   await module.get(Orders).place(purchase);
 *   expect(dtx.localMessages.sent(orderPlaced)).toEqual([{ orderId: purchase.orderId }]);
 */
export function fakeDtx(options: FakeXaOptions & FakeNotificationsOptions = {}): FakeDtx {
  const localMessages = new FakeLocalMessages(options);
  const halfMessages = new FakeHalfMessages(options);
  const confirmedMessages = new FakeConfirmedMessages(options);
  const tcc = new FakeTcc(options);
  const sagas = new FakeSagas(options);
  const xa = new FakeXa(options);
  const notifications = new FakeNotifications(options);
  const sharedTransactions = new FakeSharedTransactions(options);
  const providers = [
    { provide: LocalMessages, useValue: localMessages },
    { provide: HalfMessages, useValue: halfMessages },
    { provide: ConfirmedMessages, useValue: confirmedMessages },
    { provide: Tcc, useValue: tcc },
    { provide: Sagas, useValue: sagas },
    { provide: Xa, useValue: xa },
    { provide: Notifications, useValue: notifications },
    { provide: SharedTransactions, useValue: sharedTransactions },
  ];
  const dataSource = new FakeDataSource(options);
  return {
    localMessages,
    halfMessages,
    confirmedMessages,
    tcc,
    sagas,
    xa,
    notifications,
    sharedTransactions,
    dataSource,
    providers,
  };
}
