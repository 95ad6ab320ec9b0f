import type { HttpReply } from './http-request-reply.js';

/** Aborted if the caller closes the connection before the answer is complete. Long polls end with it. */
export function goneSignal(reply: HttpReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableEnded) gone.abort();
  });
  return gone.signal;
}
