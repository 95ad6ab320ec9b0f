import { type DynamicModule, Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { type AsyncModuleOptions, configurableModule, type ModuleScope } from '../core/module-options.js';
import { parseOptions } from '../core/options.js';
import { AbsentVersions } from './absent-versions.js';
import { BarrierTrace } from './barrier-trace.js';
import { Compensation } from './compensation.js';
import { Definitions } from './definitions.js';
import { SagaEngine } from './engine.js';
import { FirstStep } from './first-step.js';
import { Forward } from './forward.js';
import { GroupCalls } from './group-calls.js';
import { SAGA_OPTIONS, type SagaOptionsInput, sagaOptions } from './options.js';
import { StepRuns } from './run-step.js';
import type { Saga } from './saga-entries.js';
import { SagaPurge } from './saga-purge.js';
import { SagaRows } from './saga-rows.js';
import { Sagas } from './sagas.js';
import { StepCalls } from './step-calls.js';
import type { StepContract } from './step-contract.js';
import { CARRIES_OUT, SAGAS, StepExplorer } from './step-discovery.js';
import { StepEndpoint } from './step-endpoint.js';
import { StepRecords } from './step-records.js';
import { StepViolations } from './step-violations.js';
import { StoredSagas } from './stored-sagas.js';

/** Options of `SagaModule`. */
export type SagaModuleOptions = SagaOptionsInput & {
  /** The sagas that this app starts. An older version stays until its sagas are over. */
  sagas?: readonly Saga[];
  /** Steps for which this app must have a `@SagaStep` class. */
  steps?: readonly StepContract[];
};

const configured = configurableModule<SagaModuleOptions, 'createSagaOptions'>({
  name: 'SagaModule',
  factoryMethod: 'createSagaOptions',
  values: [
    [SAGA_OPTIONS, ({ sagas: _, steps: __, ...options }) => parseOptions('saga', sagaOptions, options)],
    [SAGAS, ({ sagas = [] }) => sagas],
    [CARRIES_OUT, ({ steps = [] }) => steps],
  ],
  imports: [DiscoveryModule],
  providers: [
    AbsentVersions,
    Compensation,
    Definitions,
    FirstStep,
    Forward,
    GroupCalls,
    SagaEngine,
    SagaPurge,
    BarrierTrace,
    SagaRows,
    Sagas,
    StepCalls,
    StepEndpoint,
    StepExplorer,
    StepRecords,
    StepRuns,
    StepViolations,
    StoredSagas,
  ],
  exports: [Sagas],
});

/**
 * Sagas. Import it in the root module beside `DtxModule.forRoot`. See docs/schemes/saga.md.
 * @example
 *   imports: [DtxModule.forRoot({ app: 'order', rabbitmqUrl }), SagaModule.forRoot({ sagas: [purchaseSaga] })]
 */
@Module({})
export class SagaModule {
  /** @throws OptionsError that names the wrong option */
  static forRoot(options: SagaModuleOptions & ModuleScope = {}): DynamicModule {
    return configured.forRoot(SagaModule, options);
  }

  /** Options from other providers. A wrong option stops the start with an OptionsError that names it. */
  static forRootAsync(options: AsyncModuleOptions<SagaModuleOptions, 'createSagaOptions'>): DynamicModule {
    return configured.forRootAsync(SagaModule, options);
  }
}
