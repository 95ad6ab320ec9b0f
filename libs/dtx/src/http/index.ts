/** HTTP answers to the errors of the library, the trace of a request, and log fields. */
export { DtxExceptionFilter } from './dtx-exception.filter.js';
export { DtxLogger, type LogFields, logFields } from './dtx-logger.js';
export { type ErrorAnswer, type ErrorKind, errorAnswerOf } from './error-answer.js';
export { TraceparentMiddleware } from './traceparent.middleware.js';
export { UnavailableLog } from './unavailable-log-throttle.js';
