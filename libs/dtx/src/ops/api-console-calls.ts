/** The calls that a console reads, beside those for lists and actions. */
import { z } from 'zod';
import { type OpsCall, READ, TOKEN } from './api-call.js';
import { historyView, payloadView, topologyView, traceView } from './api-view-schemas.js';

export const consoleCalls: readonly OpsCall[] = [
  {
    method: 'get',
    path: '/dtx/transactions/{id}/payload',
    summary: 'Returns the business data of a transaction, with secret fields hidden',
    description: 'Only with the option `payloads` of `OpsModule`. Data above 2 MiB is not shown.',
    isSecured: true,
    answer: { status: 200, description: 'The data', schema: payloadView },
    problems: { ...READ, 403: 'The app hides business data', 404: 'This app has no business data of the transaction' },
  },
  {
    method: 'get',
    path: '/dtx/traces/{gid}',
    summary: 'Shows the rows of a global transaction in this app',
    description:
      'Rows with their timelines, messages with both ends, and alerts. Empty if this app takes no part. The rows of all apps ' +
      'together are the whole transaction.',
    isSecured: true,
    answer: { status: 200, description: 'The rows', schema: traceView },
    problems: READ,
  },
  {
    method: 'get',
    path: '/dtx/topology',
    summary: 'Shows schemes, queues, connections, versions and options of this instance, without secrets',
    isSecured: true,
    answer: { status: 200, description: 'This instance', schema: topologyView },
    problems: TOKEN,
  },
  {
    method: 'get',
    path: '/dtx/history',
    summary: 'Counts the events of this instance by minute, for the last hour',
    isSecured: true,
    answer: { status: 200, description: 'The minutes since the start, at most 60', schema: historyView },
    problems: TOKEN,
  },
  {
    method: 'get',
    path: '/dtx/events',
    summary: 'Streams changes of this instance and alerts of this app as server-sent events',
    description:
      'Events are `hello`, `changes`, `alerts` and `reset`. The header Last-Event-ID resumes after an id. After `reset` a ' +
      'client reads everything anew.',
    isSecured: true,
    answer: { status: 200, description: 'The events', schema: z.string(), type: 'text/event-stream' },
    problems: { ...TOKEN, 400: 'Last-Event-ID is invalid', 503: 'This instance is stopping, or has too many readers' },
  },
];
