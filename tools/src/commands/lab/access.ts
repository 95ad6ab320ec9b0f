// Who may call the lab: a browser of this machine that knows the token of this run.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { LabError } from './lab-error.js';

const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/;
const WRONG_MAX = 30;
const WINDOW_MS = 60_000;

const digestOf = (text: string) => createHash('sha256').update(text).digest();

export class Access {
  private readonly digest: Buffer;
  private wrong = 0;
  private windowEnd = 0;

  constructor(token: string) {
    this.digest = digestOf(token);
  }

  /**
   * A page of another site can make the browser of the operator call this machine under a name of its own (DNS rebinding),
   * so the name is checked, too.
   * @throws LabError 421
   */
  checkHost({ headers }: IncomingMessage): void {
    if (LOOPBACK.test(headers.host ?? '')) return;
    throw new LabError(421, 'the lab answers on this machine only: open it as http://127.0.0.1 with its port');
  }

  /** Wrong tokens of a minute are counted for all callers together, since all are on this machine. @throws LabError */
  checkToken({ headers }: IncomingMessage): void {
    const now = Date.now();
    if (now > this.windowEnd) {
      this.wrong = 0;
      this.windowEnd = now + WINDOW_MS;
    }
    if (this.wrong >= WRONG_MAX) throw new LabError(429, 'too many wrong tokens: wait a minute');
    const given = /^bearer (.+)$/i.exec(headers.authorization ?? '')?.[1];
    if (given !== undefined && timingSafeEqual(digestOf(given), this.digest)) return;
    if (given !== undefined) this.wrong += 1;
    throw new LabError(401, 'send the token of the lab, which was printed at its start');
  }
}
