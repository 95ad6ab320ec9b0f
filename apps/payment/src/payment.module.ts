import { appModules, type Env } from '@nest-dtx/host';
import { Account, accountsMigrations, NOTIFIER, Payment, paymentFunds, takeMoneyStep } from '@nest-dtx/shop';
import { type DynamicModule, Module } from '@nestjs/common';
import { AccountsController } from './accounts.controller.js';
import { PurchaseByTcc } from './check-out-by-tcc.initiator.js';
import { CheckoutsController } from './checkouts.controller.js';
import { DeclineExpiredByLocalMessage } from './decline-expired.consumer.js';
import { FreezeFunds } from './funds.participant.js';
import { PaymentsController } from './payments.controller.js';
import { TakeFlashMoneyByHalfMessage } from './take-flash-money.consumer.js';
import { TakeMoneyByLocalMessage } from './take-money.consumer.js';
import { TakeMoney } from './take-money.step.js';

@Module({})
class PaymentModule {}

/** The payment app owns accounts and payments. It also starts TCC checkouts and runs the notification service. */
export function paymentModule(env: Env): DynamicModule {
  return {
    module: PaymentModule,
    imports: appModules(env, {
      app: 'payment',
      notifier: NOTIFIER,
      entities: [Account, Payment],
      migrations: accountsMigrations,
      participates: [paymentFunds],
      steps: [takeMoneyStep],
    }),
    controllers: [
      AccountsController,
      PaymentsController,
      CheckoutsController,
      TakeMoneyByLocalMessage,
      DeclineExpiredByLocalMessage,
      TakeFlashMoneyByHalfMessage,
    ],
    providers: [PurchaseByTcc, FreezeFunds, TakeMoney],
  };
}
