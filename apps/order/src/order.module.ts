import { appModules, type Env, EnvError, SettlementPace } from '@nest-dtx/host';
import {
  confirmOrderStep,
  NOTIFIER,
  Order,
  orderCheckout,
  ordersMigrations,
  placeOrderStep,
  xaBranches,
} from '@nest-dtx/shop';
import { type DynamicModule, Module } from '@nestjs/common';
import { OrderReads } from './batched-order-reads.js';
import { CatalogController } from './catalog.controller.js';
import { ExpireOrderByLocalMessage } from './expire-order.consumer.js';
import { LongPolls } from './long-poll-quota.js';
import { ConfirmOrder, PlaceOrder } from './order.steps.js';
import { OrderCheckoutParticipant } from './order-checkout.participant.js';
import { ORDER_EXPIRY_MS, OrderExpiry } from './order-expiry.js';
import { OrdersController } from './orders.controller.js';
import { AskPayments, PAYMENT_URL } from './payment-result-inquiry.js';
import { paymentResultMigrations } from './payment-result-table.js';
import { NOTIFY_SECRETS, PaymentResultsController } from './payment-result-webhook.controller.js';
import { PlaceOrderByLocalMessage } from './place-order-by-local-message.initiator.js';
import { PlaceOrderBySaga } from './place-order-by-saga.initiator.js';
import { PlaceOrderByXa } from './place-order-by-xa.initiator.js';
import { purchaseSaga } from './purchase.saga.js';
import { RecordFlashSaleByHalfMessage } from './record-flash-sale.consumer.js';
import { RestockHintByReliableMessage } from './restock-hint.consumer.js';
import { SettleOrderByLocalMessage } from './settle-order.consumer.js';
import { SettledOrders } from './settled-order-waits.js';
import { StockHintByLocalMessage } from './stock-hint-by-local-message.consumer.js';
import { stockHintMigrations } from './stock-hint-table.js';

@Module({})
class OrderModule {}

/** The order app accepts purchases and stores their outcome. */
export function orderModule(env: Env): DynamicModule {
  if (!env.redisUrl)
    throw new EnvError('DTX_REDIS_URL is missing: Redis deduplicates restocks; give a URL like redis://host:6379/0');
  const migrations = [...ordersMigrations, ...stockHintMigrations, ...paymentResultMigrations];
  return {
    module: OrderModule,
    imports: appModules(env, {
      app: 'order',
      notifier: NOTIFIER,
      branches: xaBranches(env),
      entities: [Order],
      migrations,
      participates: [orderCheckout],
      steps: [placeOrderStep, confirmOrderStep],
      sagas: [purchaseSaga],
    }),
    controllers: [
      OrdersController,
      CatalogController,
      PaymentResultsController,
      SettleOrderByLocalMessage,
      ExpireOrderByLocalMessage,
      StockHintByLocalMessage,
      RecordFlashSaleByHalfMessage,
      RestockHintByReliableMessage,
    ],
    providers: [
      PlaceOrderByLocalMessage,
      PlaceOrderByXa,
      PlaceOrderBySaga,
      PlaceOrder,
      ConfirmOrder,
      OrderCheckoutParticipant,
      SettledOrders,
      OrderExpiry,
      { provide: ORDER_EXPIRY_MS, useValue: env.orderExpiryMs },
      SettlementPace,
      LongPolls,
      OrderReads,
      AskPayments,
      { provide: PAYMENT_URL, useValue: env.paymentUrl },
      { provide: NOTIFY_SECRETS, useValue: env.notifySecrets },
    ],
  };
}
