import { type Env, platformModules } from '@nest-dtx/host';
import { Account, accountsMigrations, NOTIFIER, Payment, paymentFunds } from '@nest-dtx/shop';
import { type DynamicModule, Module } from '@nestjs/common';
import { AccountsController } from './accounts.controller.js';
import { CheckOutByTcc } from './checkout.tcc.js';
import { CheckoutsController } from './checkouts.controller.js';
import { FreezeFunds } from './freeze-funds.tcc.js';
import { PaymentsController } from './payments.controller.js';
import { TakeFlashMoneyByHalfMessage } from './take-money.half-message.js';
import { TakeMoneyByLocalMessage } from './take-money.local-message.js';

@Module({})
class PaymentModule {}

/** The payment app: accounts, and the money of purchases. */
export function paymentModule(env: Env): DynamicModule {
  return {
    module: PaymentModule,
    imports: platformModules(env, {
      app: 'payment',
      notifier: NOTIFIER,
      entities: [Account, Payment],
      migrations: accountsMigrations,
      participates: [paymentFunds],
    }),
    controllers: [
      AccountsController,
      PaymentsController,
      CheckoutsController,
      TakeMoneyByLocalMessage,
      TakeFlashMoneyByHalfMessage,
    ],
    providers: [CheckOutByTcc, FreezeFunds],
  };
}
