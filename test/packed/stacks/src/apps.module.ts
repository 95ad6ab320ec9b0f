import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DtxModule } from 'nest-dtx';
import * as confirmedPublish from './confirmed-publish.js';
import { Effect } from './effect.entity.js';
import * as halfMessage from './half-message.js';
import * as localMessage from './local-message.js';
import * as notification from './notification.js';
import * as saga from './saga.js';
import { settings } from './settings.js';
import * as tcc from './tcc.js';
import * as xa from './xa.js';

const { rabbitmqUrl, redisUrl } = settings;
const database = { type: 'mysql' as const, entities: [Effect], synchronize: true };

@Module({
  imports: [
    TypeOrmModule.forRoot({ ...database, url: settings.shopDatabase }),
    DtxModule.forRoot({ app: 'shop', rabbitmqUrl }),
    ...localMessage.shop.imports,
    ...halfMessage.shop.imports,
    ...confirmedPublish.shop.imports,
    ...tcc.shop.imports,
    ...saga.shop.imports,
    ...xa.shop.imports,
    ...notification.shop.imports,
  ],
  providers: [
    ...localMessage.shop.providers,
    ...halfMessage.shop.providers,
    ...confirmedPublish.shop.providers,
    ...tcc.shop.providers,
    ...saga.shop.providers,
    ...xa.shop.providers,
    ...notification.shop.providers,
  ],
})
export class ShopModule {}

@Module({
  imports: [
    TypeOrmModule.forRoot({ ...database, url: settings.stockDatabase }),
    DtxModule.forRoot({ app: 'stock', rabbitmqUrl, redisUrl }),
    ...tcc.stock.imports,
    ...saga.stock.imports,
    ...xa.stock.imports,
  ],
  controllers: [
    ...localMessage.stock.controllers,
    ...halfMessage.stock.controllers,
    ...confirmedPublish.stock.controllers,
  ],
  providers: [...tcc.stock.providers, ...saga.stock.providers],
})
export class StockModule {}
