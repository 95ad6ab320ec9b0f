import { type DynamicModule, Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { parseOptions } from '../core/options.js';
import { OpenTries } from './open-try-alerts.js';
import { TCC_OPTIONS, type TccOptionsInput, tccOptions } from './options.js';
import { Calls } from './participant-calls.js';
import type { Participant } from './participant-contract.js';
import { Explorer, PARTICIPATES } from './participant-discovery.js';
import { TccEndpoint } from './participant-endpoint.js';
import { Violations } from './protocol-violations.js';
import { SecondPhase } from './second-phase.js';
import { Outcomes } from './stored-outcome.js';
import { TccPurge } from './tcc-purge.js';
import { Tcc } from './transaction.js';

/**
 * TCC transactions. Import it in the root module beside `DtxModule.forRoot`. `participates` are contracts for which
 * this app must have a class. See docs/schemes/tcc.md.
 */
@Module({})
export class TccModule {
  /** @throws OptionsError that names the wrong option */
  static forRoot(options: TccOptionsInput & { participates?: readonly Participant[] } = {}): DynamicModule {
    const { participates = [], ...rest } = options;
    return {
      module: TccModule,
      global: true,
      imports: [DiscoveryModule],
      providers: [
        { provide: TCC_OPTIONS, useValue: parseOptions('tcc', tccOptions, rest) },
        { provide: PARTICIPATES, useValue: participates },
        Calls,
        Outcomes,
        SecondPhase,
        Tcc,
        Explorer,
        TccEndpoint,
        Violations,
        OpenTries,
        TccPurge,
      ],
      exports: [Tcc],
    };
  }
}
