/** Health, metrics and the operations API under `/dtx`. */
export { type OpsCall, opsCalls } from './api-description.js';
export { DTX_ENDPOINT, type OpsEndpoint, type OpsRoutes } from './endpoints.js';
export { type DtxHealth, DtxHealthIndicator } from './health-indicator.js';
export { Metrics } from './metrics.js';
export type { MetricsRegistry } from './metrics-registry.js';
export { OpsModule } from './ops.module.js';
export type { OpsOptionsInput } from './options.js';
export { Readiness } from './readiness.js';
