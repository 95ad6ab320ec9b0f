/** Health, metrics and the operations API under `/dtx`. */
export { OpsModule } from './ops.module.js';
export type { OpsOptionsInput } from './options.js';
export { Readiness } from './readiness.js';
