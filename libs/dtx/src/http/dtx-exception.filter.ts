import { STATUS_CODES } from 'node:http';
import { type ArgumentsHost, Catch, type ExceptionFilter, Injectable } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { type Observable, throwError } from 'rxjs';
import { libraryLogger } from '../core/library-logger.js';
import { type ErrorAnswer, errorAnswerOf } from './error-answer.js';
import { UnavailableLog } from './unavailable-log-throttle.js';

/** The errors with an `ErrorAnswer`. Nest chooses a filter by `instanceof`, so every other error goes to the other filters. */
class AnsweredError {
  static [Symbol.hasInstance](error: unknown): boolean {
    return errorAnswerOf(error) !== null;
  }
}

/**
 * Answers the errors of the library: 409 for `Rejected` with its code, 503 with `Retry-After` for an unavailable dependency
 * and for an unknown outcome. `errorAnswerOf` has the whole table. Every other error keeps the handling that it has without
 * this filter. Works with Express and Fastify. The reason of a 503 is logged, equal ones once in 10 seconds.
 *
 * @example
 *   // As a provider of any module:
 *   providers: [{ provide: APP_FILTER, useClass: DtxExceptionFilter }]
 *   // Or in main.ts:
 *   app.useGlobalFilters(new DtxExceptionFilter(app.get(HttpAdapterHost)));
 */
@Catch(AnsweredError)
@Injectable()
export class DtxExceptionFilter implements ExceptionFilter {
  private readonly logger = libraryLogger('http');
  private readonly unavailable = new UnavailableLog((line) => this.logger.warn(line));

  constructor(private readonly adapters: HttpAdapterHost) {}

  catch(error: unknown, host: ArgumentsHost): Observable<never> | undefined {
    // A transport other than HTTP gets the error itself, as without this filter.
    if (host.getType() === 'rpc') return throwError(() => error);
    if (host.getType() !== 'http') throw error;
    const answer = errorAnswerOf(error)!;
    const [request, response] = [host.switchToHttp().getRequest<Request>(), host.switchToHttp().getResponse<unknown>()];
    if (answer.withheld !== undefined) this.unavailable.add(`${request.method} ${patternOf(request)}`, answer.withheld);
    const { httpAdapter } = this.adapters;
    if (httpAdapter.isHeadersSent(response)) return;
    for (const [name, value] of Object.entries(answer.headers)) httpAdapter.setHeader(response, name, value);
    httpAdapter.reply(response, this.bodyOf(answer), answer.status);
  }

  /**
   * The body of an answer. It has the members of Nest's own answers, and the problem type. Override it for another shape.
   * @example
   *   class ProblemDetails extends DtxExceptionFilter {
   *     protected override bodyOf({ type, status, detail, reason }: ErrorAnswer) {
   *       return { type, status, detail, reason };
   *     }
   *   }
   */
  protected bodyOf({ status, type, detail, reason }: ErrorAnswer): object {
    return { statusCode: status, error: STATUS_CODES[status], message: detail, type, ...(reason && { reason }) };
  }
}

/** The parts of a request that Express and Fastify have. */
interface Request {
  readonly method: string;
  readonly url: string;
  readonly routeOptions?: { readonly url?: string };
  readonly route?: { readonly path?: unknown };
}

/** The path pattern, since an id in the path would make each log line another one. */
function patternOf({ url, routeOptions, route }: Request): string {
  return String(routeOptions?.url ?? route?.path ?? url.split('?', 1)[0]);
}
