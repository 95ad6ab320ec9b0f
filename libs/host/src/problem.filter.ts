import { type ArgumentsHost, Catch, type ExceptionFilter, Logger } from '@nestjs/common';
import { UnavailableLog } from 'nest-dtx';
import type { RouteTable } from './allowed-methods.js';
import type { HttpReply, HttpRequest } from './http-request-reply.js';
import { MethodNotAllowed, NotFound, problemOf } from './problem.js';

/**
 * Answers every error as problem details. Unexpected errors are logged with their stack. The texts of unavailable
 * dependencies are logged, equal ones at most once per period.
 */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly logger = new Logger('Http');
  private readonly unavailable = new UnavailableLog((line) => this.logger.warn(line));

  constructor(private readonly routes: RouteTable) {}

  catch(error: unknown, host: ArgumentsHost): void {
    if (host.getType() !== 'http') throw error;
    const http = host.switchToHttp();
    this.answer(error, http.getRequest<HttpRequest>(), http.getResponse<HttpReply>());
  }

  /** Logs the error, and answers it unless the call is answered. */
  answer(error: unknown, request: HttpRequest, reply: HttpReply): void {
    const path = request.url.split('?', 1)[0]!;

    const { problem, headers, unexpected, withheld } = problemOf(request.is404 ? this.noRoute(path) : error);
    if (unexpected) {
      this.logger.error(
        `${request.method} ${path}: ${String(error)}`,
        error instanceof Error ? error.stack : undefined,
      );
    }
    // The pattern of the path, since an id in it would make each line another one.
    if (withheld !== undefined) this.unavailable.add(`${request.method} ${request.routeOptions.url ?? path}`, withheld);
    if (reply.sent) return;
    reply
      .status(problem.status)
      .headers({ ...headers, 'content-type': 'application/problem+json; charset=utf-8' })
      // Sent as text, since the framework would append a charset to the content type of an object.
      .send(JSON.stringify({ ...problem, instance: path }));
  }

  /** Replaces the error on an unknown path, which may be another one, such as an unreadable body. */
  private noRoute(path: string): Error {
    const allowed = this.routes.methodsOf(path);
    return allowed.length > 0 ? new MethodNotAllowed(allowed) : new NotFound('unknown path; see /docs');
  }
}
