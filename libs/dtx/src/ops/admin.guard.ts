import { createHash, timingSafeEqual } from 'node:crypto';
import { type CanActivate, type ExecutionContext, Inject, Injectable, UnauthorizedException } from '@nestjs/common';
import { libraryLogger } from '../core/library-logger.js';
import { emit } from '../core/telemetry-events.js';

export const ADMIN_TOKEN = Symbol('dtx admin token');

/** Interval between two log lines about refused calls. The metric counts each call. */
const LOG_EVERY_MS = 60_000;

/** Admits requests with the admin token. It compares digests, so the duration reveals neither content nor length. */
@Injectable()
export class AdminGuard implements CanActivate {
  private readonly logger = libraryLogger('operations');
  private denied = 0;
  private logAt = Number.NEGATIVE_INFINITY;

  constructor(@Inject(ADMIN_TOKEN) private readonly token: string) {}

  canActivate(context: ExecutionContext): boolean {
    const { headers, ip } = context.switchToHttp().getRequest<Request>();
    const given = /^Bearer +(.+)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
    if (timingSafeEqual(digest(given), digest(this.token))) return true;
    emit('denied', { token: given === '' ? 'missing' : 'wrong' });
    this.log(ip);
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

interface Request {
  readonly headers: Record<string, string | undefined>;
  readonly ip?: string;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
