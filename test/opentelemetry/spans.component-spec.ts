import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import type * as Bridge from '../../libs/dtx/src/opentelemetry/index.js';
import { built } from '../fixtures/built-library.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { prepareBranch } from '../fixtures/xa-branch-database.js';

const library = libraryOf();
const { DtxOpenTelemetryModule }: typeof Bridge = built('opentelemetry/index.js');
const TRACE_ID = 'e'.repeat(32);
const CALLER_ID = 'f'.repeat(16);
const TRACEPARENT = `00-${TRACE_ID}-${CALLER_ID}-01`;
const placed = contractOf(library, 'spanned');
const funds = library.defineParticipant({ name: 'payment.funds', version: 1, args: z.object({ amount: z.int() }) });

const exporter = new InMemorySpanExporter();
const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
let sandbox: Sandbox;
let service: LittleService;
const delivered = new Map<string, number>();

class Funds {
  reserve() {}
  use() {}
  giveBack() {}
}
for (const [name, decorate] of [
  ['reserve', library.Try()],
  ['use', library.Confirm()],
  ['giveBack', library.Cancel()],
] as const)
  (decorate as MethodDecorator)(Funds.prototype, name, Object.getOwnPropertyDescriptor(Funds.prototype, name)!);
library.TccParticipant(funds)(Funds);

beforeAll(async () => {
  sandbox = await freshSandbox('spans', { audited: false });
  const handle = async (_: EntityManager, { gid }: { gid: string }) => {
    delivered.set(gid, (delivered.get(gid) ?? 0) + 1);
    if (gid === 'failing' && delivered.get(gid) === 1) throw new TypeError('fails once');
  };
  service = await LittleService.start({
    sandbox,
    library,
    xa: await prepareBranch(sandbox, 'inventory', library),
    controllers: [controllerOf([[library.OnMessage(placed), handle]])],
    providers: [Funds],
    imports: [DtxOpenTelemetryModule.forRoot({ tracerProvider })],
  });
});
afterAll(() => service?.close());
beforeEach(() => exporter.reset());

const spansOf = (start: string) => exporter.getFinishedSpans().filter(({ name }) => name.startsWith(start));
const spanOf = (start: string) => until(`the span ${start} ends`, () => spansOf(start)[0]);
const parentIdOf = (span: Awaited<ReturnType<typeof spanOf>>) => span.parentSpanContext?.spanId;

const append = (gid: string) =>
  library.withTraceparent(TRACEPARENT, () =>
    service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, placed, { gid })),
  );

test('append, relay and handler of a message are spans of one trace, and the message carries the span that created it', async () => {
  const id = await append('spanned');
  const created = await spanOf('create test.spanned.v1');
  const published = await spanOf('publish dtx.payment.spanned.v1');
  const processed = await spanOf('process dtx.payment.spanned.v1');
  for (const span of [created, published, processed]) {
    expect(span.spanContext().traceId).toBe(TRACE_ID);
    expect(span.attributes).toMatchObject({ 'messaging.system': 'rabbitmq', 'messaging.message.id': id });
  }
  const creator = created.spanContext().spanId;
  expect([created, published, processed].map(parentIdOf)).toEqual([CALLER_ID, creator, creator]);
  const rows = await sql(sandbox, 'payment', `SELECT traceparent FROM dtx_outbox WHERE gid = 'spanned'`);
  expect(rows).toEqual([{ traceparent: `00-${TRACE_ID}-${creator}-01` }]);
});

test('each attempt of a handler is a span, and a failed one has the error', async () => {
  await append('failing');
  const [failed, succeeded] = await until('both attempts end', () => {
    const spans = spansOf('process ');
    return spans.length === 2 && spans;
  });
  expect(failed!.attributes['error.type']).toBe('TypeError');
  expect(succeeded!.attributes['error.type']).toBeUndefined();
  expect(parentIdOf(succeeded!)).toBe(parentIdOf(failed!));
});

test('the phases of a TCC transaction are spans of the trace of its caller', async () => {
  const outcome = await library.withTraceparent(TRACEPARENT, () =>
    service.get(library.Tcc).run({}, (t) => t.call(funds, { amount: 7 })),
  );
  expect(outcome.status).toBe('CONFIRMED');
  const run = await spanOf('tcc run');
  const phases = [await spanOf('tcc try payment.funds'), await spanOf('tcc confirm payment.funds')];
  for (const phase of [run, ...phases]) expect(phase.spanContext().traceId).toBe(TRACE_ID);
  expect(parentIdOf(run)).toBe(CALLER_ID);
  expect(phases[0]!.attributes['nest_dtx.gid']).toBe(outcome.gid);
});

test('the phases of an XA transaction are spans below its run', async () => {
  await library.withTraceparent(TRACEPARENT, () =>
    service.get(library.Xa).run(['payment', 'inventory'], async ({ payment, inventory }) => {
      await payment.query('SELECT 1');
      await inventory.query('SELECT 1');
    }),
  );
  const run = await spanOf('xa run payment,inventory');
  const phases = [await spanOf('xa prepare inventory'), await spanOf('xa decide'), await spanOf('xa commit')];
  expect(parentIdOf(run)).toBe(CALLER_ID);
  for (const phase of phases) expect(parentIdOf(phase)).toBe(run.spanContext().spanId);
});
