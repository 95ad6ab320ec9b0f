import { type DynamicModule, Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { type AsyncModuleOptions, configurableModule, type ModuleScope } from '../core/module-options.js';
import { parseOptions } from '../core/options.js';
import { BarrierTrace } from './barrier-trace.js';
import { Decisions } from './decision.js';
import { OpenTries } from './open-try-alerts.js';
import { TCC_OPTIONS, type TccOptionsInput, tccOptions } from './options.js';
import { Calls } from './participant-calls.js';
import type { Participant } from './participant-contract.js';
import { Explorer, PARTICIPATES } from './participant-discovery.js';
import { TccEndpoint } from './participant-endpoint.js';
import { Violations } from './protocol-violations.js';
import { Registration } from './registration.js';
import { SecondPhase } from './second-phase.js';
import { Outcomes } from './stored-outcome.js';
import { TccPurge } from './tcc-purge.js';
import { Tcc } from './transaction.js';

/** Options of `TccModule`. */
export type TccModuleOptions = TccOptionsInput & {
  /** Contracts for which this app must have a `@TccParticipant` class. */
  participates?: readonly Participant[];
};

const configured = configurableModule<TccModuleOptions, 'createTccOptions'>({
  name: 'TccModule',
  factoryMethod: 'createTccOptions',
  values: [
    [TCC_OPTIONS, ({ participates: _, ...options }) => parseOptions('tcc', tccOptions, options)],
    [PARTICIPATES, ({ participates = [] }) => participates],
  ],
  imports: [DiscoveryModule],
  providers: [
    Calls,
    Outcomes,
    Registration,
    Decisions,
    SecondPhase,
    Tcc,
    Explorer,
    TccEndpoint,
    Violations,
    OpenTries,
    TccPurge,
    BarrierTrace,
  ],
  exports: [Tcc],
});

/**
 * TCC transactions. Import it in the root module beside `DtxModule.forRoot`. `participates` are contracts for which
 * this app must have a class. See docs/schemes/tcc.md.
 * @example
 *   imports: [DtxModule.forRoot({ app: 'payment', rabbitmqUrl }), TccModule.forRoot({ participates: [fundsContract] })]
 */
@Module({})
export class TccModule {
  /** @throws OptionsError that names the wrong option */
  static forRoot(options: TccModuleOptions & ModuleScope = {}): DynamicModule {
    return configured.forRoot(TccModule, options);
  }

  /** Options from other providers. A wrong option stops the start with an OptionsError that names it. */
  static forRootAsync(options: AsyncModuleOptions<TccModuleOptions, 'createTccOptions'>): DynamicModule {
    return configured.forRootAsync(TccModule, options);
  }
}
