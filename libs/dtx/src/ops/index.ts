/** Health, metrics and the operations API under `/dtx`. */
export { type OpsCall, opsCalls } from './api-description.js';
export { OpsModule } from './ops.module.js';
export type { OpsOptionsInput } from './options.js';
export { Readiness } from './readiness.js';
