import { type DynamicModule, Module } from '@nestjs/common';
import { OptionsError } from '../core/errors/errors.js';
import { moduleOf } from '../core/module-of-data-source.js';
import { type AsyncModuleOptions, configurableModule, type ModuleScope } from '../core/module-options.js';
import { parseOptions } from '../core/options.js';
import { CarryOut } from './apply-decision-to-branch.js';
import { BeginTransaction } from './begin-transaction.js';
import type { BranchDatabase } from './branch-database.js';
import { BranchTrace } from './branch-trace.js';
import { Decisions } from './decision-log-entries.js';
import { LogIncidents } from './decision-log-incidents.js';
import { DecisionLog } from './decision-log-trust.js';
import { DecisionLossCheck } from './decision-loss-check.js';
import { XaPurge } from './decision-purge.js';
import { XA_OPTIONS, type XaOptionsInput, xaOptions } from './options.js';
import { PrepareBranches } from './prepare-branches.js';
import { Orphans } from './presumed-abort.js';
import { Recovery } from './recovery.js';
import { BRANCHES, ResourceManagers } from './resource-manager-registry.js';
import { SecondPhase } from './second-phase.js';
import { XaLifeCycle } from './start-and-stop.js';
import { Xa } from './transaction.js';
import { WitnessSchema } from './witness-migration.js';
import { BRANCH_NAME } from './xid.js';

type Branches = Readonly<Record<string, BranchDatabase>>;

/** Options of `XaModule`. */
export type XaModuleOptions = XaOptionsInput & {
  /** The other databases, by name. Without branches every `run` throws XaUnavailable. */
  branches?: Branches;
};

const configured = configurableModule<XaModuleOptions, 'createXaOptions'>({
  name: 'XaModule',
  factoryMethod: 'createXaOptions',
  values: [
    [XA_OPTIONS, ({ branches: _, ...options }) => parseOptions('xa', xaOptions, options)],
    [BRANCHES, ({ branches = {} }) => checkedBranches(branches)],
  ],
  providers: [
    DecisionLog,
    LogIncidents,
    Decisions,
    ResourceManagers,
    CarryOut,
    SecondPhase,
    DecisionLossCheck,
    Orphans,
    Recovery,
    BeginTransaction,
    PrepareBranches,
    Xa,
    XaLifeCycle,
    XaPurge,
    BranchTrace,
  ],
  exports: [Xa],
});

function checkedBranches(branches: Branches): Branches {
  const wrong = Object.keys(branches).find((name) => !BRANCH_NAME.test(name));
  if (wrong === undefined) return branches;
  throw new OptionsError(`xa.branches: ${JSON.stringify(wrong)} is not a branch name; use ${BRANCH_NAME.source}`);
}

/**
 * XA two-phase commit. Import it in the root module beside `DtxModule.forRoot`. See docs/schemes/xa.md.
 * @example
 *   XaModule.forRoot({ branches: { payment: { url: 'mysql://app:secret@payment-db/payment' } } })
 *   XaModule.forParticipant() // an app in whose database branches work
 */
@Module({})
export class XaModule {
  /**
   * For the program that reaches several databases. The app's own database holds the decision log and is the last
   * resource, under the app's name. `branches` are the others, by name. Without branches every `run` throws
   * XaUnavailable.
   * @throws OptionsError that names the wrong option
   */
  static forRoot(options: XaModuleOptions & ModuleScope = {}): DynamicModule {
    return configured.forRoot(XaModule, options);
  }

  /**
   * Options from other providers, such as the passwords of `branches`. A wrong option stops the start with an
   * OptionsError that names it.
   */
  static forRootAsync(options: AsyncModuleOptions<XaModuleOptions, 'createXaOptions'>): DynamicModule {
    return configured.forRootAsync(XaModule, options);
  }

  /**
   * For an app in whose database branches work. Only migrates the witness table there.
   * @param scope the `DtxModule` of this app, if it is not global: in `imports`, or named by its `dataSource`
   */
  static forParticipant({ imports = [], dataSource }: Omit<ModuleScope, 'isGlobal'> = {}): DynamicModule {
    const named = dataSource === undefined ? [] : [moduleOf(dataSource, 'XaModule')];
    return { module: XaModule, imports: [...imports, ...named], providers: [WitnessSchema] };
  }
}
