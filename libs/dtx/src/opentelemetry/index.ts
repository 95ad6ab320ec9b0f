/** Spans of OpenTelemetry for the steps of the library. Needs the package `@opentelemetry/api` of the app. */
export { DtxOpenTelemetryModule } from './opentelemetry.module.js';
export { type OpenTelemetryOptions, traceWithOpenTelemetry } from './trace-with-opentelemetry.js';
