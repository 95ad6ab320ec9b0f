import { describe, expect, test } from 'vitest';
import { sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { INSERT, library, useHandler } from './handler-with-effects.js';

const handler = useHandler('handlers');
const { start, handled, effects } = handler;

describe('SQL on another connection inside a handler', () => {
  test.each(['development', 'production'])(
    'SQL on another connection inside a handler is refused with NODE_ENV=%s, and the error says what to do',
    async (env) => {
      const before = process.env.NODE_ENV;
      process.env.NODE_ENV = env;
      try {
        await start(async (_tx, { gid }) => handler.source.query(INSERT, [gid]));
        const { gid, state, error } = await handled();
        expect([state, await effects(gid)]).toEqual(['PARKED', 0]);
        expect(error).toContain('@OnMessage(test.message.v1) of payment.message');
        expect(error).toContain('outsideTransaction');
      } finally {
        process.env.NODE_ENV = before;
      }
    },
  );

  test('SQL on another connection takes effect at each attempt of the handler if it is only counted', async () => {
    let calls = 0;
    const strays: string[] = [];
    const end = library.onMeasured('strayed', ({ what }) => strays.push(what));
    await start(
      async (_tx, { gid }) => {
        await handler.source.query(INSERT, [gid]);
        if (++calls < 2) throw new Error('a passing failure');
      },
      { core: { strayStatements: 'count', inbox: { attemptsMax: 5 } } },
    );
    const { gid, state } = await handled();
    end();
    expect([state, await effects(gid)]).toEqual(['HANDLED', 2]);
    expect(strays).toHaveLength(2);
  });

  test('outsideTransaction allows SQL on another connection, which stays when the handler is rolled back', async () => {
    await start(async (tx, { gid }) => {
      await tx.query(INSERT, [gid]);
      await library.outsideTransaction(() => handler.source.query(INSERT, [`${gid}.audit`]));
      throw new library.Rejected('NO');
    });
    const { gid } = await handled();
    expect([await effects(gid), await effects(`${gid}.audit`), await effects(`${gid}.refused`)]).toEqual([0, 1, 1]);
  });

  test('SQL on another connection is allowed in background work after the handler has ended', async () => {
    let later: Promise<unknown> = Promise.resolve();
    await start(async (tx, { gid }) => {
      await tx.query(INSERT, [gid]);
      later = until('the handler is over', () =>
        sql(handler.sandbox, 'payment', `SELECT 1 FROM effect WHERE gid = ?`, [gid]).then((rows) => rows.length > 0),
      ).then(() => handler.source.query(INSERT, [`${gid}.later`]));
    });
    const { gid } = await handled();
    await later;
    expect(await effects(`${gid}.later`)).toBe(1);
  });
});
