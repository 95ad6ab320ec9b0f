import type { ServerResponse } from 'node:http';
import { Get, Headers, Injectable, Res, ServiceUnavailableException } from '@nestjs/common';
import { EventFeed } from './event-feed.js';
import { type HistoryView, MinuteHistory } from './minute-history.js';
import { Readiness } from './readiness.js';
import { check, lastEventId } from './request-schemas.js';

/** Consoles at the same time in one process. */
const STREAMS_MAX = 100;
/** Bytes that wait for a slow reader. A reader above it is disconnected, and resumes by the last id that it has seen. */
const WAITING_BYTES_MAX = 1024 * 1024;
const PING_MS = 15_000;

/** `/dtx/events`: server-sent events. `/dtx/history`: the last hour of this process, by minute. */
@Injectable()
export class EventsController {
  private readonly streams = new Set<ServerResponse>();

  constructor(
    private readonly feed: EventFeed,
    private readonly history: MinuteHistory,
    private readonly readiness: Readiness,
  ) {
    // A stop waits for open calls.
    readiness.stopping.addEventListener('abort', () => {
      for (const raw of this.streams) raw.end();
    });
  }

  @Get('history')
  lastHour(): HistoryView {
    return this.history.view;
  }

  @Get('events')
  events(@Headers('last-event-id') given: unknown, @Res() response: Response): void {
    const lastId = given === undefined ? undefined : check(lastEventId, given, 'header.Last-Event-ID');
    if (this.readiness.stopping.aborted) throw new ServiceUnavailableException('this instance is stopping');
    if (this.streams.size >= STREAMS_MAX)
      throw new ServiceUnavailableException(`${STREAMS_MAX} consoles read the events of this process; retry later`);
    // Fastify would end the answer after the handler.
    response.hijack?.();
    const raw = response.raw ?? (response as unknown as ServerResponse);
    // An asynchronous guard may outlast the client. Its `close` has been emitted, and does not come again.
    if (raw.destroyed || raw.closed) return;
    raw.writeHead(200, HEADERS);
    const write = (text: string) => {
      if (raw.writableLength > WAITING_BYTES_MAX) raw.destroy();
      else if (!raw.destroyed) raw.write(text);
    };
    const leave = this.feed.listen(lastId, ({ text }) => write(text));
    const ping = setInterval(() => write(': ping\n\n'), PING_MS).unref();
    this.streams.add(raw);
    raw.once('close', () => {
      leave();
      clearInterval(ping);
      this.streams.delete(raw);
    });
  }
}

/** A proxy must neither keep nor collect the events. */
const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
  'x-content-type-options': 'nosniff',
};

/** The response of Express is that of Node. Fastify wraps it. */
interface Response {
  readonly raw?: ServerResponse;
  hijack?(): unknown;
}
