import { randomBytes } from 'node:crypto';
import { Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { Alerts, type AlertView } from '../core/durable/alerts.js';
import { schemeLabel } from '../core/loaded-scheme-names.js';
import { onMeasured } from '../core/telemetry-events.js';

/** Changes of this time travel as one event, so a busy app sends at most four a second to each console. */
const BATCH_MS = 250;
/** Changes of one event that are named. Further ones are counted. */
const ITEMS_MAX = 100;
/** Events that are kept for consoles that come back. */
const KEPT_MAX = 256;
/** Time after the last console left, in which events are still kept. */
const KEPT_MS = 60_000;
const ALERTS_EVERY_MS = 2_000;
const ALERTS_MAX = 100;

type Change = 'started' | 'settled' | 'parked' | 'retried';
interface Item {
  readonly change: Change;
  readonly scheme: string;
  readonly id: string | null;
  readonly gid: string | null;
}

/** An event as it goes over the wire. */
export interface Sent {
  readonly seq: number;
  readonly text: string;
}

/**
 * The changes of this process and the open alerts of the app, as events for consoles. Nothing is kept without a console. The
 * number of events, their size and the memory for them are bounded, whatever the load.
 */
@Injectable()
export class EventFeed implements OnModuleInit, OnModuleDestroy {
  /** Names this process, so that an id of another one is not taken for one of its own. */
  private readonly boot = randomBytes(4).toString('hex');
  private readonly listeners = new Set<(sent: Sent) => void>();
  private readonly kept: Sent[] = [];
  private seq = 0;
  private watchedUntil = Number.NEGATIVE_INFINITY;
  private batch: { counts: Record<string, Partial<Record<Change, number>>>; items: Item[]; omitted: number } | null =
    null;
  private flushing: NodeJS.Timeout | undefined;
  private looking: NodeJS.Timeout | undefined;
  private isLooking = false;
  private open: ReadonlyMap<string, AlertView> | undefined;
  private ends: Array<() => void> = [];

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {}

  onModuleInit(): void {
    this.ends = (['started', 'settled', 'parked', 'retried'] as const).map((change) =>
      onMeasured(change, ({ scheme, id, gid }) => this.hear({ change, scheme, id: id ?? null, gid: gid ?? null })),
    );
  }

  onModuleDestroy(): void {
    for (const end of this.ends) end();
    clearTimeout(this.flushing);
    clearInterval(this.looking);
  }

  /**
   * Sends the events after `lastId`, and then each new one. If those are not known any more, or if this is another process,
   * the first event is `reset`, and a console reads everything anew.
   * @returns the function that ends it
   */
  listen(lastId: string | undefined, send: (sent: Sent) => void): () => void {
    const missed = lastId === undefined ? [] : this.after(lastId);
    const now = { at: new Date().toISOString(), instance: this.boot, openAlerts: this.open?.size ?? null };
    send(this.format(this.seq, missed ? 'hello' : 'reset', now));
    for (const one of missed ?? []) send(one);
    this.listeners.add(send);
    this.watchedUntil = Number.POSITIVE_INFINITY;
    if (!this.looking) void this.look();
    this.looking ??= setInterval(() => void this.look(), ALERTS_EVERY_MS).unref();
    return () => this.leave(send);
  }

  private leave(send: (sent: Sent) => void): void {
    this.listeners.delete(send);
    if (this.listeners.size > 0) return;
    this.watchedUntil = performance.now() + KEPT_MS;
    clearInterval(this.looking);
    this.looking = undefined;
    this.open = undefined;
  }

  /** The kept events after an id. Null if some of them are lost. */
  private after(id: string): Sent[] | null {
    const [, boot, seq] = /^([0-9a-f]{8})-(\d{1,15})$/.exec(id) ?? [];
    if (boot !== this.boot || performance.now() > this.watchedUntil) return null;
    const since = Number(seq);
    const oldest = this.kept[0]?.seq ?? this.seq + 1;
    return since > this.seq || since < oldest - 1 ? null : this.kept.filter((one) => one.seq > since);
  }

  private hear(item: Item): void {
    if (performance.now() > this.watchedUntil) return;
    this.batch ??= { counts: {}, items: [], omitted: 0 };
    const scheme = schemeLabel(item.scheme);
    const counts = this.batch.counts[scheme] ?? {};
    this.batch.counts[scheme] = counts;
    counts[item.change] = (counts[item.change] ?? 0) + 1;
    if (this.batch.items.length < ITEMS_MAX) this.batch.items.push(item);
    else this.batch.omitted++;
    this.flushing ??= setTimeout(() => this.flush(), BATCH_MS).unref();
  }

  private flush(): void {
    this.flushing = undefined;
    const { batch } = this;
    this.batch = null;
    if (batch) this.publish('changes', { at: new Date().toISOString(), ...batch });
  }

  private publish(event: string, data: object): void {
    const sent = this.format(++this.seq, event, data);
    this.kept.push(sent);
    if (this.kept.length > KEPT_MAX) this.kept.shift();
    for (const send of this.listeners) send(sent);
  }

  /** JSON has no line breaks, so the data is one line. */
  private format(seq: number, event: string, data: object): Sent {
    return { seq, text: `id: ${this.boot}-${seq}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n` };
  }

  /** Alerts of all instances are in the table. A look that fails is repeated by the next one. */
  private async look(): Promise<void> {
    if (this.isLooking || !this.database.ready) return;
    this.isLooking = true;
    try {
      const found = await this.alerts.list({ isOpen: true, limit: ALERTS_MAX });
      const now = new Map(found.map((alert) => [alert.id, alert]));
      const before = this.open;
      this.open = now;
      const opened = found.filter(({ id }) => before?.has(id) === false);
      const closed = [...(before?.keys() ?? [])].filter((id) => !now.has(id));
      // The first look tells how many are open.
      if (!before || opened.length + closed.length > 0)
        this.publish('alerts', { at: new Date().toISOString(), open: found.length, opened, closed });
    } catch {
      this.open = undefined;
    } finally {
      this.isLooking = false;
    }
  }
}
