import { createHash, timingSafeEqual } from 'node:crypto';
import {
  type CanActivate,
  type ExecutionContext,
  HttpException,
  HttpStatus,
  Inject,
  Injectable,
  UnauthorizedException,
} from '@nestjs/common';
import { libraryLogger } from '../core/library-logger.js';
import { emit } from '../core/telemetry-events.js';
import { OPS_OPTIONS, type OpsOptions } from './options.js';
import { WrongTokenLimit } from './wrong-token-limit.js';

export const ADMIN_TOKEN = Symbol('dtx admin token');

/** Interval between two log lines about refused calls. The metric counts each call. */
const LOG_EVERY_MS = 60_000;

/**
 * Admits requests with the admin token. It compares digests, so the duration reveals neither content nor length. Guessing is
 * slowed down by address.
 */
@Injectable()
export class AdminGuard implements CanActivate {
  private readonly logger = libraryLogger('operations');
  private denied = 0;
  private logAt = Number.NEGATIVE_INFINITY;

  private readonly limit: WrongTokenLimit;

  constructor(
    @Inject(ADMIN_TOKEN) private readonly token: string,
    @Inject(OPS_OPTIONS) { wrongTokensMax }: Pick<OpsOptions, 'wrongTokensMax'>,
  ) {
    this.limit = new WrongTokenLimit(wrongTokensMax);
  }

  canActivate(context: ExecutionContext): boolean {
    const { headers, ip } = context.switchToHttp().getRequest<Request>();
    const given = /^Bearer +(.+)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
    const waitMs = given === '' ? 0 : this.limit.waitMs(ip ?? '');
    if (waitMs === 0 && timingSafeEqual(digest(given), digest(this.token))) return true;
    emit('denied', { token: given === '' ? 'missing' : 'wrong' });
    this.log(ip);
    if (waitMs > 0) throw tooMany(context, waitMs);
    if (given !== '') this.limit.count(ip ?? '');
    throw new UnauthorizedException('admin token missing or wrong; send Authorization: Bearer <token>');
  }

  /** Logs the first refused call at once, and then one line per interval with the number of calls. */
  private log(ip: string | undefined): void {
    this.denied++;
    const now = performance.now();
    if (now < this.logAt) return;
    this.logger.warn(
      `refused ${this.denied} call(s) to the operations API without the admin token, the last one from ${ip ?? 'unknown'}`,
    );
    this.denied = 0;
    this.logAt = now + LOG_EVERY_MS;
  }
}

/** Fastify and Express name the method that sets a header alike. */
function tooMany(context: ExecutionContext, waitMs: number): HttpException {
  const seconds = Math.ceil(waitMs / 1_000);
  context.switchToHttp().getResponse<Response>().header?.('retry-after', String(seconds));
  return new HttpException(
    `too many wrong admin tokens from this address; retry after ${seconds} s`,
    HttpStatus.TOO_MANY_REQUESTS,
  );
}

interface Response {
  header?(name: string, value: string): unknown;
}

interface Request {
  readonly headers: Record<string, string | undefined>;
  readonly ip?: string;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
