/** Entry of the scheme saga: steps with Do and Undo, a pivot, and a barrier at the apps of the steps. */

export type { SagaOptionsInput } from './options.js';
export { SagaModule, type SagaModuleOptions } from './saga.module.js';
export { type ArgsMaker, defineSaga, type SagaSteps, type WaitOptions } from './saga-definition.js';
export type { CallEntry, Saga, SagaEntry, SagaScope, StepKind, WaitEntry } from './saga-entries.js';
export { type SagaCancel, type SagaSignalled, type SagaStart, Sagas } from './sagas.js';
export { defineSignal, defineStep, type SagaSignal, type StepContract } from './step-contract.js';
export { Do, Done, SagaStep, type SagaStepContext, Undo } from './step-decorators.js';
export type { SagaOutcome } from './stored-sagas.js';
