import { appModules, type Env, SettlementPace } from '@nest-dtx/host';
import { inventoryStock, NOTIFIER, Stock, stockMigrations, takeStockStep } from '@nest-dtx/shop';
import { type DynamicModule, Module } from '@nestjs/common';
import { ConfirmedPublishModule, HalfMessageModule } from 'nest-dtx';
import { FlashSaleByHalfMessage } from './flash-sale.initiator.js';
import { FlashSalesController } from './flash-sales.controller.js';
import { RestockByReliableMessage } from './restock.initiator.js';
import { RestocksController } from './restocks.controller.js';
import { StockController } from './stock.controller.js';
import { StockParticipant } from './stock.participant.js';
import { TakeStockByLocalMessage } from './take-or-return-stock.consumer.js';
import { TakeStock } from './take-stock.step.js';

@Module({})
class InventoryModule {}

/** The inventory app owns the stock. It also starts flash sales and restocks. */
export function inventoryModule(env: Env): DynamicModule {
  return {
    module: InventoryModule,
    imports: [
      ...appModules(env, {
        app: 'inventory',
        notifier: NOTIFIER,
        entities: [Stock],
        migrations: stockMigrations,
        participates: [inventoryStock],
        steps: [takeStockStep],
      }),
      HalfMessageModule.forRoot({ sendsPerTransaction: 16, ...env.options.halfMessage }),
      ConfirmedPublishModule.forRoot(env.options.reliableMessage),
    ],
    controllers: [StockController, FlashSalesController, RestocksController, TakeStockByLocalMessage],
    providers: [StockParticipant, TakeStock, FlashSaleByHalfMessage, RestockByReliableMessage, SettlementPace],
  };
}
