import { type ArgumentsHost, Catch, type ExceptionFilter, Logger } from '@nestjs/common';
import type { HttpReply, HttpRequest } from './http.js';
import { MethodNotAllowed, NotFound, problemOf } from './problem.js';
import type { RouteTable } from './route-table.js';

/** Answers every error as problem details. A caller's mistake is not logged; an error of ours is, once, with its stack. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly logger = new Logger('Http');

  constructor(private readonly routes: RouteTable) {}

  catch(error: unknown, host: ArgumentsHost): void {
    if (host.getType() !== 'http') throw error;
    const request = host.switchToHttp().getRequest<HttpRequest>();
    const reply = host.switchToHttp().getResponse<HttpReply>();
    const path = request.url.split('?', 1)[0];

    const { problem, headers, unexpected } = problemOf(request.is404 ? this.noRoute(path) : error);
    if (unexpected) {
      this.logger.error(
        `${request.method} ${path}: ${String(error)}`,
        error instanceof Error ? error.stack : undefined,
      );
    }
    if (reply.sent) return;
    reply
      .status(problem.status)
      .headers({ ...headers, 'content-type': 'application/problem+json; charset=utf-8' })
      // As text: the framework would append a charset of its own to an object's type.
      .send(JSON.stringify({ ...problem, instance: path }));
  }

  /** Decided here and not by the error: on an unknown path even a body that cannot be read is no news. */
  private noRoute(path: string): Error {
    const allowed = this.routes.methodsOf(path);
    return allowed.length > 0
      ? new MethodNotAllowed(allowed)
      : new NotFound('there is nothing at this path: see /docs');
  }
}
