import { Injectable } from '@nestjs/common';
import { Xa, XaModule } from 'nest-dtx/xa';
import { Effect } from './effect.entity.js';
import { settings } from './settings.js';

@Injectable()
export class BuyAtOnce {
  constructor(private readonly xa: Xa) {}

  run(orderId: string): Promise<void> {
    return this.xa.run(['shop', 'stock'], async ({ shop, stock }) => {
      await shop.insert(Effect, { scheme: 'bought', orderId });
      await stock.insert(Effect, { scheme: 'XA', orderId });
    });
  }
}

const branches = { stock: { url: settings.stockDatabase, entities: [Effect] } };
export const shop = { imports: [XaModule.forRoot({ branches })], providers: [BuyAtOnce] };
export const stock = { imports: [XaModule.forParticipant()] };
