import { type Env, Order, orderCheckout, ordersMigrations, platformModules } from '@nest-dtx/shop';
import { type DynamicModule, Module } from '@nestjs/common';
import { CatalogController, StockHintByLocalMessage } from './catalog.controller.js';
import { CheckoutByTcc } from './checkout.tcc.js';
import { OrdersController } from './orders.controller.js';
import { PlaceOrderByLocalMessage, SettleOrderByLocalMessage } from './place-order.local-message.js';
import { PlaceOrderByXa } from './place-order.xa.js';
import { SettledOrders } from './settled-orders.js';
import { stockHintMigrations } from './stock-hint.js';

@Module({})
class OrderModule {}

/** The order app: takes purchases and knows what became of them. */
export function orderModule(env: Env): DynamicModule {
  const migrations = [...ordersMigrations, ...stockHintMigrations];
  return {
    module: OrderModule,
    imports: platformModules(env, { app: 'order', entities: [Order], migrations, participates: [orderCheckout] }),
    controllers: [OrdersController, CatalogController, SettleOrderByLocalMessage, StockHintByLocalMessage],
    providers: [PlaceOrderByLocalMessage, PlaceOrderByXa, CheckoutByTcc, SettledOrders],
  };
}
