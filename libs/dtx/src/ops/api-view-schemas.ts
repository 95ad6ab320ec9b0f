/** Schemas of the views in answers of `/dtx`, for API documents. Times are ISO 8601 in UTC. */
import { z } from 'zod';
import type { AlertView } from '../core/durable/alerts.js';
import type { SingleView, SummaryRow, TracedRow, TransactionView } from '../core/durable/operations-registry.js';
import type { BulkRetryView } from './bulk-retry.js';
import type { HistoryView } from './minute-history.js';
import type { InstanceView } from './this-instance.js';
import type { TopologyView } from './topology.js';
import type { PayloadView, TraceView } from './traces.controller.js';

const time = z.iso.datetime();

const transaction = z.object({
  id: z.string(),
  gid: z.string().nullable(),
  scheme: z.string(),
  what: z.string(),
  state: z.string(),
  attempts: z.int().min(0),
  nextAttemptAt: time.nullable(),
  lastError: z.string().nullable(),
  createdAt: time,
});

export const transactionView: z.ZodType<TransactionView> = transaction.meta({ title: 'Transaction' });

const entry = z.object({ at: time, event: z.string() }).meta({ title: 'TimelineEntry' });

const messageEnd = z
  .object({
    id: z.string(),
    end: z.enum(['sender', 'receiver']),
    consumers: z.array(z.string()),
    awaiting: z.array(z.string()),
  })
  .meta({ title: 'MessageEnd' });

export const transactionDetails: z.ZodType<SingleView> = transaction
  .extend({ timeline: z.array(entry), details: z.record(z.string(), z.unknown()).optional() })
  .meta({ title: 'TransactionDetails' });

export const alertView: z.ZodType<AlertView> = z
  .object({
    id: z.string(),
    scheme: z.string(),
    subject: z.string(),
    gid: z.string().nullable(),
    step: z.string(),
    lastError: z.string().nullable(),
    retry: z.string().nullable(),
    closesBy: z.enum(['retry', 'acknowledge', 'itself']),
    openedAt: time,
    acknowledgedAt: time.nullable(),
    closedAt: time.nullable(),
  })
  .meta({ title: 'Alert' });

export const bulkRetryView: z.ZodType<BulkRetryView> = z
  .object({
    scheme: z.string(),
    state: z.string(),
    matching: z.int().min(0),
    retried: z.int().min(0),
    startedAt: time,
    endedAt: time.nullable(),
    error: z.string().nullable(),
  })
  .meta({ title: 'BulkRetry' });

export const summaryRow: z.ZodType<SummaryRow & { ageMs: number }> = z
  .object({
    scheme: z.string(),
    source: z.string(),
    states: z.record(z.string(), z.int().min(0)),
    parked: z.int().min(0),
    oldestDueMs: z.number().nullable(),
    ageMs: z.int().min(0),
  })
  .meta({ title: 'SummaryRow' });

const tracedRow: z.ZodType<TracedRow> = transaction
  .extend({
    timeline: z.array(entry),
    details: z.record(z.string(), z.unknown()).optional(),
    source: z.string(),
    message: messageEnd.nullable(),
  })
  .meta({ title: 'TracedRow' });

export const traceView: z.ZodType<TraceView> = z
  .object({
    app: z.string(),
    gid: z.string(),
    at: time,
    rows: z.array(tracedRow),
    alerts: z.array(alertView),
    isComplete: z.boolean(),
  })
  .meta({ title: 'Trace' });

export const payloadView: z.ZodType<PayloadView> = z
  .object({ id: z.string(), bytes: z.int().min(0), text: z.string().nullable() })
  .meta({ title: 'Payload' });

const count = z.int().min(0);
const minuteOfScheme = z
  .object({
    started: count,
    settled: count,
    parked: count,
    retried: count,
    p50Ms: z.number().nullable(),
    p95Ms: z.number().nullable(),
  })
  .meta({ title: 'MinuteOfScheme' });

const instanceView: z.ZodType<InstanceView> = z
  .object({ host: z.string(), pid: z.int(), startedAt: time })
  .meta({ title: 'Instance' });

export const historyView: z.ZodType<HistoryView> = z
  .object({
    instance: instanceView,
    since: time,
    minutes: z.array(z.object({ at: time, schemes: z.record(z.string(), minuteOfScheme) }).meta({ title: 'Minute' })),
  })
  .meta({ title: 'History' });

const text = z.string().nullable();
const queueView = z
  .object({
    queue: z.string(),
    isAttached: z.boolean(),
    busy: count,
    prefetch: count,
    problem: text,
    messages: count.nullable(),
    consumers: count.nullable(),
  })
  .meta({ title: 'Queue' });
const connectionState = z
  .object({
    name: z.string(),
    isUp: z.boolean(),
    isBlocked: z.boolean(),
    node: z.string(),
    server: text,
    problem: text,
  })
  .meta({ title: 'BrokerConnection' });

export const topologyView: z.ZodType<TopologyView> = z
  .object({
    app: z.string(),
    instance: instanceView,
    versions: z
      .object({ library: z.string(), node: z.string(), database: text, broker: text })
      .meta({ title: 'Versions' }),
    schemes: z.array(z.string()),
    queues: z.array(queueView),
    connections: z.array(connectionState),
    database: z.object({ isReady: z.boolean(), problem: text }).meta({ title: 'DatabaseState' }),
    redis: z.object({ isUsed: z.boolean(), isUp: z.boolean() }).meta({ title: 'RedisState' }),
    apps: z.array(z.object({ name: z.string(), url: z.string() }).meta({ title: 'ConsoleApp' })),
    options: z.record(z.string(), z.unknown()),
  })
  .meta({ title: 'Topology' });
