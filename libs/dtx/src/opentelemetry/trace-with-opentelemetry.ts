import {
  type Context,
  context,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { Rejected, textOf } from '../core/errors/errors.js';
import { currentTraceparent, withTraceparent } from '../core/trace-and-gid-context.js';
import { type Step, traceSteps } from '../core/traced-steps.js';
import { spanOf } from './step-span.js';

/** Options of the bridge to OpenTelemetry. */
export interface OpenTelemetryOptions {
  /** The provider of the tracer. The default is the global one, which the SDK of the app registers. */
  readonly tracerProvider?: TracerProvider;
}

const TRACER = 'nest-dtx';

/**
 * Makes a span of each step of the library in this process: `create` (append), `publish` (relay), `process` (handler), and the
 * phases of TCC and XA. The parent is the span of the caller or the `traceparent` of the message. Messages carry the span
 * that created them. Returns the function that ends this. A later call replaces an earlier one.
 *
 * A failed step has the status ERROR and `error.type`. A `Rejected` is a business result: its code is in
 * `nest_dtx.rejected`, and the status stays unset.
 *
 * @example
 *   const stop = traceWithOpenTelemetry();
 */
export function traceWithOpenTelemetry({ tracerProvider }: OpenTelemetryOptions = {}): () => void {
  return traceSteps((step, work) => {
    const tracer = (tracerProvider ?? trace.getTracerProvider()).getTracer(TRACER);
    const { name, kind, attributes } = spanOf(step);
    const parent = parentOf(step);
    const span = tracer.startSpan(name, { kind, attributes }, parent);
    const within = () => withTraceparent(traceparentOf(span), work);
    return ended(span, step, () => context.with(trace.setSpan(parent, span), within));
  });
}

/**
 * The active span of the caller is nearer than the traceparent of its request. It does not count for work that a message or a
 * row causes, which may run in the context of another request.
 */
function parentOf({ isCausedByMessage }: Step): Context {
  const active = context.active();
  if (!isCausedByMessage && trace.getSpan(active)) return active;
  const [, traceId, spanId, flags] = currentTraceparent()?.split('-') ?? [];
  if (!traceId || !spanId) return ROOT_CONTEXT;
  const traceFlags = Number.parseInt(flags ?? '0', 16);
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
}

/** Without an SDK a span has no ids, and the trace of the caller is carried on. */
function traceparentOf(span: Span): string | null {
  const about = span.spanContext();
  if (!isSpanContextValid(about)) return null;
  return `00-${about.traceId}-${about.spanId}-${about.traceFlags.toString(16).padStart(2, '0')}`;
}

/** Runs the work and ends the span with it, also for a result that is not a promise. */
function ended<T>(span: Span, step: Step, work: () => T): T {
  try {
    const result = work();
    if (!(result instanceof Promise)) {
      span.end();
      return result;
    }
    return result.then(
      (value) => {
        if (step.returnsMessageId) span.setAttribute('messaging.message.id', String(value));
        span.end();
        return value;
      },
      (error) => {
        fail(span, error);
        throw error;
      },
    ) as T;
  } catch (error) {
    fail(span, error);
    throw error;
  }
}

function fail(span: Span, error: unknown): void {
  if (error instanceof Rejected) span.setAttribute('nest_dtx.rejected', error.reason);
  else {
    const message = textOf(error);
    span.recordException(error instanceof Error ? error : message);
    span.setAttribute('error.type', error instanceof Error ? error.name : typeof error);
    span.setStatus({ code: SpanStatusCode.ERROR, message });
  }
  span.end();
}
