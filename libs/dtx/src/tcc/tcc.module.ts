import { type DynamicModule, Inject, Injectable, Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { inFuture } from '../core/durable/claim.js';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { parseOptions } from '../core/options.js';
import { Calls } from './calls.js';
import type { Participant } from './contract.js';
import { TccEndpoint } from './endpoint.js';
import { Explorer, PARTICIPATES } from './explorer.js';
import { OpenTries } from './open-tries.js';
import { TCC_OPTIONS, type TccOptions, type TccOptionsInput, tccOptions } from './options.js';
import { Outcomes } from './outcome.js';
import { SecondPhase } from './second-phase.js';
import { Tcc } from './transaction.js';

/**
 * Transactions go with their branches. Barrier rows go with all others of their gid and branch, when every one of them is
 * old and every Try has its second phase: a Try whose second phase is still to come, however late (a parked transaction
 * waits for a person), must be known for as long as that takes. And the row in place must not go before those that stand
 * beside it, or a late call of theirs would find the place free.
 */
@Injectable()
class TccPurge {
  constructor(purger: Purger, @Inject(TCC_OPTIONS) options: TccOptions) {
    const horizon = inFuture(-options.retentionMs);
    const old = `created_at < ${horizon}`;
    const over = pastRetention(options.retentionMs, 'settled_at');
    const task = (name: string, sql: (limit: number) => string) =>
      purger.add({ name, statement: (limit) => ({ sql: sql(limit), values: [] }) });
    task(
      'tcc transactions',
      (limit) => `DELETE t, b FROM dtx_tcc t LEFT JOIN dtx_tcc_branch b ON b.gid = t.id
        JOIN (SELECT id FROM dtx_tcc WHERE ${over} AND settled_at IS NOT NULL ORDER BY created_at LIMIT ${limit}) AS finished
        ON finished.id = t.id`,
    );
    task(
      'tcc barriers',
      (limit) => `DELETE b FROM dtx_tcc_barrier b
        JOIN (SELECT gid, branch FROM dtx_tcc_barrier AS one WHERE ${old} AND phase = 'second' AND NOT EXISTS
          (SELECT 1 FROM dtx_tcc_barrier AS other WHERE other.gid = one.gid AND other.branch = one.branch
            HAVING MAX(other.created_at) >= ${horizon} OR SUM(IF(other.phase = 'try', 1, -1)) <> 0)
          ORDER BY created_at LIMIT ${limit}) AS finished
        ON finished.gid = b.gid AND finished.branch = b.branch`,
    );
  }
}

/** TCC. Import it in the root module beside `DtxModule.forRoot`; `participates` are contracts that must have their class. */
@Module({})
export class TccModule {
  /** @throws OptionsError naming what is wrong */
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
        OpenTries,
        TccPurge,
      ],
      exports: [Tcc],
    };
  }
}
