import { createHash, timingSafeEqual } from 'node:crypto';
import { type CanActivate, type ExecutionContext, Inject, Injectable, UnauthorizedException } from '@nestjs/common';

export const ADMIN_TOKEN = Symbol('dtx admin token');

/** Admits requests with the admin token. It compares digests, so the duration reveals neither content nor length. */
@Injectable()
export class AdminGuard implements CanActivate {
  constructor(@Inject(ADMIN_TOKEN) private readonly token: string) {}

  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string | undefined> }>();
    const given = /^Bearer +(.+)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
    if (timingSafeEqual(digest(given), digest(this.token))) return true;
    throw new UnauthorizedException('admin token missing or wrong; send Authorization: Bearer $DTX_ADMIN_TOKEN');
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
