/**
 * Description of the operations API for API documents: `/dtx`, `/health` and `/metrics`. The library has no OpenAPI library of
 * its own. A test calls every operation well and badly, and compares the answers with this description.
 */
import { z } from 'zod';
import { ACTION, type OpsCall, page, READ, SETTLED, TOKEN, UNAVAILABLE, UNKNOWN_ROW } from './api-call.js';
import { consoleCalls } from './api-console-calls.js';
import { alertView, bulkRetryView, summaryRow, transactionDetails, transactionView } from './api-view-schemas.js';
import { alertsQuery, listQuery, rescheduleBody, resolveBody, retryBody, retryOneBody } from './request-schemas.js';

export type { OpsCall };

const text = z.string();

/**
 * All calls of the operations API.
 * @example
 *   opsCalls.map(({ method, path }) => `${method} ${path}`); // ['get /dtx/transactions', ...]
 */
export const opsCalls: readonly OpsCall[] = [
  {
    method: 'get',
    path: '/dtx/transactions',
    summary: 'Lists transactions that this app drives or has parked, newest first',
    description:
      'A page may be short or empty and still have a successor. Pass nextCursor as cursor, with the same filters.',
    isSecured: true,
    query: listQuery,
    answer: { status: 200, description: 'A page', schema: page(transactionView, 'TransactionPage') },
    problems: READ,
  },
  {
    method: 'get',
    path: '/dtx/transactions/{id}',
    summary: 'Returns a transaction with its timeline',
    isSecured: true,
    answer: { status: 200, description: 'The transaction', schema: transactionDetails },
    problems: { ...READ, ...UNKNOWN_ROW },
  },
  {
    method: 'post',
    path: '/dtx/transactions/retry',
    summary: 'Makes all open transactions with a scheme and a state due now',
    isSecured: true,
    isAction: true,
    body: retryBody,
    answer: {
      status: 202,
      description: 'The number of matching transactions. They are retried in the background, see GET /dtx/retry',
      schema: z.object({ matching: z.int().min(0) }).meta({ title: 'BulkRetryStarted' }),
    },
    problems: { ...ACTION, 409: 'Another retry of all runs in this process' },
  },
  {
    method: 'get',
    path: '/dtx/retry',
    summary: 'Shows the progress of the last retry of all in this process',
    isSecured: true,
    answer: {
      status: 200,
      description: 'The progress, or null if none was started',
      schema: z.object({ retry: bulkRetryView.nullable() }).meta({ title: 'BulkRetryProgress' }),
    },
    problems: TOKEN,
  },
  {
    method: 'post',
    path: '/dtx/transactions/{id}/retry',
    summary: 'Makes an open transaction due now and resets its attempts',
    isSecured: true,
    isAction: true,
    body: retryOneBody,
    isBodyOptional: true,
    answer: { status: 200, description: 'The transaction', schema: transactionDetails },
    problems: { ...ACTION, ...UNKNOWN_ROW, ...SETTLED },
  },
  {
    method: 'post',
    path: '/dtx/transactions/{id}/reschedule',
    summary: 'Moves the due time of a delayed message that is not sent yet',
    isSecured: true,
    isAction: true,
    body: rescheduleBody,
    answer: { status: 200, description: 'The transaction', schema: transactionDetails },
    problems: { ...ACTION, ...UNKNOWN_ROW, 409: 'The transaction has no delay, or it is due' },
  },
  {
    method: 'post',
    path: '/dtx/transactions/{id}/resolve',
    summary: 'Settles a transaction by hand',
    isSecured: true,
    isAction: true,
    body: resolveBody,
    answer: { status: 200, description: 'The transaction', schema: transactionDetails },
    problems: {
      ...ACTION,
      ...UNKNOWN_ROW,
      409: `${SETTLED[409]}, or this instance has no handler for the rejection`,
    },
  },
  {
    method: 'get',
    path: '/dtx/summary',
    summary: 'Counts open rows by scheme, table and state',
    description: 'All callers share one count. Figures have an age.',
    isSecured: true,
    answer: {
      status: 200,
      description: 'The counts',
      schema: z.object({ schemes: z.array(summaryRow) }).meta({ title: 'Summary' }),
    },
    problems: { ...TOKEN, ...UNAVAILABLE },
  },
  {
    method: 'get',
    path: '/dtx/alerts',
    summary: 'Lists alerts, newest first',
    isSecured: true,
    query: alertsQuery,
    answer: { status: 200, description: 'A page', schema: page(alertView, 'AlertPage') },
    problems: READ,
  },
  {
    method: 'post',
    path: '/dtx/alerts/{id}/acknowledge',
    summary: 'Acknowledges an alert',
    isSecured: true,
    isAction: true,
    answer: { status: 200, description: 'The alert', schema: alertView },
    problems: { ...READ, 404: 'This app does not know the alert' },
  },
  ...consoleCalls,
  {
    method: 'get',
    path: '/health/live',
    summary: 'Answers as long as the process runs',
    isSecured: false,
    answer: {
      status: 200,
      description: 'The process runs',
      schema: z.object({ status: z.literal('ok') }).meta({ title: 'Live' }),
    },
    problems: {},
  },
  {
    method: 'get',
    path: '/health/ready',
    summary: 'Tells if the instance can work',
    isSecured: false,
    answer: {
      status: 200,
      description: 'The instance can work. `degraded` names the parts that cannot, with their reasons',
      schema: z
        .object({ status: z.literal('ok'), degraded: z.array(text), reasons: z.record(text, text) })
        .meta({ title: 'Ready' }),
    },
    problems: { 503: 'The instance cannot work: its database is unavailable, or it is stopping' },
  },
  {
    method: 'get',
    path: '/metrics',
    summary: 'Returns metrics in the text format of Prometheus',
    isSecured: false,
    answer: { status: 200, description: 'The metrics', schema: text, type: 'text/plain' },
    problems: {},
  },
];
