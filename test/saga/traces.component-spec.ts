import { createConnection } from 'mysql2/promise';
import { expect, it } from 'vitest';
import type { TraceConnection, TracedRow } from '../../libs/dtx/src/testing/index.js';
import { built } from '../fixtures/built-library.js';
import type { AppName } from '../fixtures/sandbox.js';
import { library } from './saga-apps.js';
import { useStage } from './stage.js';

const stage = useStage('saga_traces');

/** The rows of a saga at one app, each with its events. */
async function traceOf(app: AppName, gid: string): Promise<Array<{ source: string; events: string[] }>> {
  const connection = await createConnection({ uri: stage.sandbox.databases[app], timezone: 'Z' });
  const one: TraceConnection = {
    query: async (statement, values) => (await connection.query(statement, values as unknown[]))[0],
  };
  const isSaga = (table: string) => /^dtx_saga(_barrier)?$/.test(table) && (app === 'order' || table !== 'dtx_saga');
  const rows: TracedRow[] = await built('testing/index.js').readTrace(one, gid, isSaga);
  await connection.end();
  return rows.map(({ source, what, timeline }) => ({
    source,
    events: timeline.map(({ event }) => (source === 'dtx_saga' ? event : `${what}: ${event}`)),
  }));
}

it('a trace shows the saga at its own app, and at every app the calls that its barrier has let through', async () => {
  const gid = await stage.begin({ pay: { do: () => Promise.reject(new library.Rejected('INSUFFICIENT_FUNDS')) } });
  await stage.untilIs(gid, 'COMPENSATED');
  expect(await traceOf('order', gid)).toEqual([
    {
      source: 'dtx_saga',
      events: ['started', 'decided to compensate (INSUFFICIENT_FUNDS)', 'every step undone'],
    },
    { source: 'dtx_saga_barrier', events: ['order.place do: recorded'] },
    { source: 'dtx_saga_barrier', events: ['order.place undo: recorded'] },
  ]);
  expect((await traceOf('inventory', gid)).flatMap(({ events }) => events)).toEqual([
    'inventory.hold do: recorded',
    'inventory.hold undo: recorded',
  ]);
  expect((await traceOf('payment', gid)).flatMap(({ events }) => events)).toEqual([
    'payment.pay refused: INSUFFICIENT_FUNDS: recorded',
  ]);
});

it('a step that never ran, and whose Undo came first, refuses a late Do', async () => {
  const never = { do: () => Promise.reject(new Error('no shelf')) };
  const gid = await stage.begin({ hold: never }, (tx, gid) => stage.order.sagas.cancel(tx, gid, 'AT_ONCE'));
  await stage.untilIs(gid, 'COMPENSATED');
  expect((await traceOf('inventory', gid)).flatMap(({ events }) => events)).toEqual([
    'inventory.hold refuses a late do: recorded',
  ]);
});
