import 'reflect-metadata';
import { createServer } from 'node:http';
import { DataSource } from 'typeorm';
import { ShopModule, StockModule } from './apps.module.js';
import { SetPrices } from './confirmed-publish.js';
import { Effect } from './effect.entity.js';
import { SellInFlashes } from './half-message.js';
import { PlaceOrders } from './local-message.js';
import { TellMerchants } from './notification.js';
import { start, until } from './running-service.js';
import { ShipOrders } from './saga.js';
import { settings } from './settings.js';
import { CheckOut } from './tcc.js';
import { BuyAtOnce } from './xa.js';

const told = new Set<string>();

/** Runs a scheme until its effect has happened. Prints the milliseconds that it took. */
async function show(
  scheme: string,
  run: () => Promise<unknown>,
  look: () => Promise<boolean> | boolean,
): Promise<void> {
  const since = Date.now();
  await run();
  await until(`the effect of ${scheme}`, look);
  console.log(JSON.stringify({ scheme, ms: Date.now() - since, at: Date.now() }));
}

async function main(): Promise<void> {
  const merchant = createServer((request, response) => {
    told.add(String(request.headers['webhook-id']));
    response.writeHead(204).end();
  }).listen(Number(new URL(settings.merchant).port), '127.0.0.1');
  const stock = await start(StockModule);
  const shop = await start(ShopModule);
  const effects = stock.get(DataSource).getRepository(Effect);
  const isDone = (scheme: string) => async () =>
    (await effects.countBy({ scheme, orderId: scheme.replace(' ', '-') })) === 1;
  const schemes = [
    ['local message', PlaceOrders],
    ['half message', SellInFlashes],
    ['confirmed publish', SetPrices],
    ['TCC', CheckOut],
    ['saga', ShipOrders],
    ['XA', BuyAtOnce],
  ] as const;
  for (const [scheme, service] of schemes)
    await show(
      scheme,
      () => shop.get<{ run(orderId: string): Promise<unknown> }>(service).run(scheme.replace(' ', '-')),
      isDone(scheme),
    );
  await show(
    'notification',
    () => shop.get(TellMerchants).run('paid'),
    () => told.has('paid'),
  );
  await Promise.all([shop.close(), stock.close()]);
  merchant.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
