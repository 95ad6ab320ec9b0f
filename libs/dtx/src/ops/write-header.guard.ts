import { type CanActivate, type ExecutionContext, ForbiddenException, Injectable } from '@nestjs/common';

/**
 * Refuses a write without a header that a form of another site cannot send: a bearer token, a JSON body, or `DTX-Operator`.
 * A guard of the app may know its users by a cookie, which a browser also sends with such a form.
 */
@Injectable()
export class WriteHeaderGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { method, headers } = context.switchToHttp().getRequest<Request>();
    if (method === 'GET' || method === 'HEAD' || isBeyondForms(headers)) return true;
    throw new ForbiddenException(
      'a write needs a header that a form cannot send; add DTX-Operator: <name>, or send content-type: application/json',
    );
  }
}

interface Request {
  readonly method: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

function isBeyondForms(headers: Request['headers']): boolean {
  return (
    /^bearer /i.test(headers.authorization ?? '') ||
    /^application\/([\w.-]+\+)?json\b/i.test(headers['content-type'] ?? '') ||
    headers['dtx-operator'] !== undefined
  );
}
