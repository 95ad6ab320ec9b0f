/** Hosting of an app: environment, HTTP platform, problem details, OpenAPI, start and stop. */

export { absoluteUrl } from './absolute-url.js';
export { type AppParts, appModules } from './app-modules.js';
export { goneSignal } from './caller-gone-signal.js';
export { DatabaseOpen } from './database-open.guard.js';
export { databaseOptions } from './database-url.js';
export { type Env, EnvError, readEnv } from './env.js';
export type { HttpReply, HttpRequest } from './http-request-reply.js';
export { IdempotencyKey } from './idempotency-key-header.js';
export { type CallDescription, Describe } from './openapi-describe-decorator.js';
export { schemaOf } from './openapi-schema.js';
export { InvalidRequest, NotFound, type Problem, ProblemError, TooManyCalls } from './problem.js';
export { queryNumber } from './query-number.js';
export { type AppToServe, serve } from './serve.js';
export { SettlementPace } from './settlement-pace.js';
export { Checked } from './zod-validation.pipe.js';
