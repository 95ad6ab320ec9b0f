import { type Env, EnvError, platformModules } from '@nest-dtx/host';
import { NOTIFIER, Order, orderCheckout, ordersMigrations, xaBranches } from '@nest-dtx/shop';
import { type DynamicModule, Module } from '@nestjs/common';
import { AskPayments, PAYMENT_URL } from './ask-payments.js';
import { CatalogController, StockHintByLocalMessage } from './catalog.controller.js';
import { CheckoutByTcc } from './checkout.tcc.js';
import { OrdersController } from './orders.controller.js';
import { NOTIFY_SECRETS, PaymentResultsController } from './payment-results.controller.js';
import { paymentResultMigrations } from './payment-results.js';
import { PlaceOrderByLocalMessage, SettleOrderByLocalMessage } from './place-order.local-message.js';
import { PlaceOrderByXa } from './place-order.xa.js';
import { RecordFlashSaleByHalfMessage } from './record-sale.half-message.js';
import { RestockHintByReliableMessage } from './restock-hint.reliable-message.js';
import { SettledOrders } from './settled-orders.js';
import { stockHintMigrations } from './stock-hint.js';

@Module({})
class OrderModule {}

/** The order app: takes purchases and knows what became of them. */
export function orderModule(env: Env): DynamicModule {
  if (!env.redisUrl)
    throw new EnvError(
      'DTX_REDIS_URL is missing: restocks are known again by Redis, give a URL like redis://host:6379/0',
    );
  const migrations = [...ordersMigrations, ...stockHintMigrations, ...paymentResultMigrations];
  return {
    module: OrderModule,
    imports: platformModules(env, {
      app: 'order',
      notifier: NOTIFIER,
      branches: xaBranches(env),
      entities: [Order],
      migrations,
      participates: [orderCheckout],
    }),
    controllers: [
      OrdersController,
      CatalogController,
      PaymentResultsController,
      SettleOrderByLocalMessage,
      StockHintByLocalMessage,
      RecordFlashSaleByHalfMessage,
      RestockHintByReliableMessage,
    ],
    providers: [
      PlaceOrderByLocalMessage,
      PlaceOrderByXa,
      CheckoutByTcc,
      SettledOrders,
      AskPayments,
      { provide: PAYMENT_URL, useValue: env.paymentUrl },
      { provide: NOTIFY_SECRETS, useValue: env.notifySecrets },
    ],
  };
}
