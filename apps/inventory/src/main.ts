import 'reflect-metadata';
import { serve } from '@nest-dtx/host';
import { inventoryModule } from './inventory.module.js';

await serve({
  app: 'inventory',
  port: 3003,
  title: 'nest-dtx: inventory',
  description: 'Available stock and the stock of purchases.',
  module: inventoryModule,
});
