/** Schemas of the views in answers of `/dtx`, for API documents. Times are ISO 8601 in UTC. */
import { z } from 'zod';
import type { AlertView } from '../core/durable/alerts.js';
import type { SingleView, SummaryRow, TransactionView } from '../core/durable/operations-registry.js';
import type { BulkRetryView } from './bulk-retry.js';

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
