import 'reflect-metadata';
import { serve } from '@nest-dtx/host';
import { paymentModule } from './payment.module.js';

await serve({
  app: 'payment',
  port: 3002,
  title: 'nest-dtx: payment',
  description: 'Accounts of buyers and payments of purchases. Money is integer cents.',
  module: paymentModule,
});
