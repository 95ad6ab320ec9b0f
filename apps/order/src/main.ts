import 'reflect-metadata';
import { serve } from '@nest-dtx/host';
import { orderModule } from './order.module.js';

await serve({
  app: 'order',
  port: 3001,
  title: 'nest-dtx: order',
  description: 'Placing and following purchases. Money is integer cents, times are UTC.',
  module: orderModule,
});
