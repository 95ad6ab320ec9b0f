/** Hosting of an app: environment, HTTP platform, problem details, OpenAPI, start and stop. */

export { type AppParts, appModules } from './app-modules.js';
export { DatabaseOpen } from './database-open.guard.js';
export { databaseOptions } from './database-url.js';
export { type Env, EnvError, readEnv } from './env.js';
export { absoluteUrl, goneSignal, type HttpReply, type HttpRequest } from './http-request-reply.js';
export { IdempotencyKey } from './idempotency-key-header.js';
export { type CallDescription, Describe } from './openapi-document.js';
export { schemaOf } from './openapi-schema.js';
export { InvalidRequest, NotFound, type Problem, ProblemError, TooManyCalls } from './problem.js';
export { type AppToServe, serve } from './serve.js';
export { Checked, queryNumber } from './zod-validation.pipe.js';
