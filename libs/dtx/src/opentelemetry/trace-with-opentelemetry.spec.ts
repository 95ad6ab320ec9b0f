import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Rejected } from '../core/errors/errors.js';
import { currentTraceparent, withTraceparent } from '../core/trace-and-gid-context.js';
import { type Step, tracedStep } from '../core/traced-steps.js';
import { traceWithOpenTelemetry } from './trace-with-opentelemetry.js';

const TRACE_ID = 'a'.repeat(32);
const REMOTE_SPAN_ID = 'b'.repeat(16);
const TRACEPARENT = `00-${TRACE_ID}-${REMOTE_SPAN_ID}-01`;
const create: Step = { operation: 'create', target: 'order.placed.v1', scheme: 'local-message', gid: 'order-1' };
const handle: Step = {
  operation: 'process',
  target: 'dtx.stock.take.v1',
  scheme: 'local-message',
  gid: 'order-1',
  messageId: 'message-1',
  isCausedByMessage: true,
};

const exporter = new InMemorySpanExporter();
const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
let stop: () => void;

beforeEach(() => {
  exporter.reset();
  stop = traceWithOpenTelemetry({ tracerProvider });
});
afterEach(() => stop());

const only = () => {
  const spans = exporter.getFinishedSpans();
  expect(spans).toHaveLength(1);
  return spans[0]!;
};

describe('traceWithOpenTelemetry', () => {
  it('makes a span with the attributes of the messaging conventions, below the trace of the message', async () => {
    await withTraceparent(TRACEPARENT, () => tracedStep(handle, async () => 'done'));
    const { name, kind, attributes, parentSpanContext, status } = only();
    expect([name, kind]).toEqual(['process dtx.stock.take.v1', SpanKind.CONSUMER]);
    expect(attributes).toEqual({
      'messaging.system': 'rabbitmq',
      'messaging.operation.type': 'process',
      'messaging.operation.name': 'process',
      'messaging.destination.name': 'dtx.stock.take.v1',
      'messaging.rabbitmq.destination.routing_key': 'dtx.stock.take.v1',
      'messaging.message.id': 'message-1',
      'messaging.message.conversation_id': 'order-1',
      'nest_dtx.scheme': 'local-message',
      'nest_dtx.gid': 'order-1',
    });
    expect(parentSpanContext).toMatchObject({ traceId: TRACE_ID, spanId: REMOTE_SPAN_ID });
    expect(status.code).toBe(SpanStatusCode.UNSET);
  });

  it('gives the work the traceparent of its span, which its messages carry', async () => {
    const seen = await withTraceparent(TRACEPARENT, () => tracedStep(create, async () => currentTraceparent()));
    expect(seen).toBe(`00-${TRACE_ID}-${only().spanContext().spanId}-01`);
    expect(only().attributes['nest_dtx.contract']).toBe('order.placed.v1');
  });

  it('begins a trace without a parent', async () => {
    await tracedStep(handle, async () => {});
    expect(only().parentSpanContext).toBeUndefined();
  });

  it('takes the active span of the caller as the parent, but not for work that a message causes', async () => {
    const manager = new SpanStack();
    context.setGlobalContextManager(manager);
    try {
      const request = tracerProvider.getTracer('the app').startSpan('POST /orders');
      context.with(trace.setSpan(context.active(), request), () =>
        withTraceparent(TRACEPARENT, () => {
          tracedStep(create, () => {});
          tracedStep(handle, () => {});
        }),
      );
      const [created, handled] = exporter.getFinishedSpans();
      expect(created!.parentSpanContext?.spanId).toBe(request.spanContext().spanId);
      expect(handled!.parentSpanContext?.spanId).toBe(REMOTE_SPAN_ID);
    } finally {
      context.disable();
    }
  });

  it('marks a failed step, also one that throws at once, and keeps its error', async () => {
    const error = new TypeError('no such column');
    await expect(tracedStep(handle, () => Promise.reject(error))).rejects.toBe(error);
    expect(() =>
      tracedStep(handle, () => {
        throw error;
      }),
    ).toThrow(error);
    for (const { status, attributes } of exporter.getFinishedSpans()) {
      expect(status).toEqual({ code: SpanStatusCode.ERROR, message: 'no such column' });
      expect(attributes['error.type']).toBe('TypeError');
    }
    expect(exporter.getFinishedSpans()).toHaveLength(2);
  });

  it('does not call a business refusal an error', async () => {
    await expect(tracedStep(handle, () => Promise.reject(new Rejected('OUT_OF_STOCK')))).rejects.toThrow();
    expect(only().status.code).toBe(SpanStatusCode.UNSET);
    expect(only().attributes['nest_dtx.rejected']).toBe('OUT_OF_STOCK');
  });

  it('makes no span after its end', async () => {
    stop();
    expect(await withTraceparent(TRACEPARENT, () => tracedStep(handle, async () => currentTraceparent()))).toBe(
      TRACEPARENT,
    );
    expect(exporter.getFinishedSpans()).toEqual([]);
  });
});

/** A context manager for synchronous work. */
class SpanStack {
  private current = context.active();

  active() {
    return this.current;
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    to: ReturnType<SpanStack['active']>,
    work: F,
    thisArg?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    const before = this.current;
    this.current = to;
    try {
      return work.call(thisArg, ...args);
    } finally {
      this.current = before;
    }
  }

  bind<T>(_: unknown, target: T): T {
    return target;
  }

  enable() {
    return this;
  }

  disable() {
    return this;
  }
}
