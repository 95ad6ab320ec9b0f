import { type DynamicModule, Injectable, Module, OnModuleInit } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { OptionsError } from '../core/errors/errors.js';
import { parseOptions } from '../core/options.js';
import type { BranchDatabase } from './branch-database.js';
import { CarryOut } from './carry-out.js';
import { Decisions } from './decisions.js';
import { LogIncidents } from './incidents.js';
import { XaLifeCycle } from './life-cycle.js';
import { DecisionLog } from './log.js';
import { XA_OPTIONS, type XaOptionsInput, xaOptions } from './options.js';
import { Orphans } from './orphans.js';
import { XaPurge } from './purge.js';
import { Recovery } from './recovery.js';
import { BRANCHES, Resources } from './resource-managers.js';
import { SecondPhase } from './second-phase.js';
import { TailCheck } from './tail.js';
import { Xa } from './transaction.js';
import { WITNESS, witnessMigrations } from './xa-tables.js';
import { BRANCH_NAME } from './xid.js';

/** The table that branches in this app's database leave their witnesses in. */
@Injectable()
class WitnessSchema implements OnModuleInit {
  constructor(private readonly database: Database) {}

  onModuleInit(): void {
    this.database.addMigrations(WITNESS, witnessMigrations);
  }
}

/** XA two-phase commit. Import it in the root module beside `DtxModule.forRoot`. */
@Module({})
export class XaModule {
  /**
   * For the one program that reaches several databases. Its own holds the decision log and takes part as the last
   * resource, under the app's name; `branches` are the others, by name. Without branches every `run` is XaUnavailable.
   * @throws OptionsError naming what is wrong
   */
  static forRoot(
    options: XaOptionsInput & { branches?: Readonly<Record<string, BranchDatabase>> } = {},
  ): DynamicModule {
    const { branches = {}, ...rest } = options;
    const wrong = Object.keys(branches).find((name) => !BRANCH_NAME.test(name));
    if (wrong !== undefined) throw new OptionsError(`xa.branches: ${JSON.stringify(wrong)} cannot name a branch`);
    return {
      module: XaModule,
      global: true,
      providers: [
        { provide: XA_OPTIONS, useValue: parseOptions('xa', xaOptions, rest) },
        { provide: BRANCHES, useValue: branches },
        DecisionLog,
        LogIncidents,
        Decisions,
        Resources,
        CarryOut,
        SecondPhase,
        TailCheck,
        Orphans,
        Recovery,
        Xa,
        XaLifeCycle,
        XaPurge,
      ],
      exports: [Xa],
    };
  }

  /** For an app in whose database branches are to work: it only gives them a place for their witnesses. */
  static forParticipant(): DynamicModule {
    return { module: XaModule, providers: [WitnessSchema] };
  }
}
