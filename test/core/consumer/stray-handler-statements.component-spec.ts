import {
  type ArgumentsHost,
  type CallHandler,
  Catch,
  type ExceptionFilter,
  type NestInterceptor,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import { catchError, EMPTY, of } from 'rxjs';
import type { DataSource, EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  contractOf,
  controllerOf,
  LittleService,
  libraryOf,
  type ServiceOptions,
} from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

/** What a user's handler, and the pipeline around it, can do to the transaction that it was given. */
const library = libraryOf();
const contract = contractOf(library, 'message');
let sandbox: Sandbox;
let service: LittleService;
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('handlers', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE effect (gid VARCHAR(64) NOT NULL) ENGINE=InnoDB');
});

afterEach(() => service?.close());

type Handle = (tx: EntityManager, message: { gid: string }) => Promise<unknown>;
const INSERT = 'INSERT INTO effect VALUES (?)';

async function start(handle: Handle, options: Partial<ServiceOptions> & { decorate?: MethodDecorator[] } = {}) {
  const { decorate = [], ...rest } = options;
  const mount = (target: object, name: string | symbol, descriptor: PropertyDescriptor) => {
    for (const one of [library.OnMessage(contract) as MethodDecorator, ...decorate]) one(target, name, descriptor);
  };
  const refused = async (tx: EntityManager, { gid }: { gid: string }) => tx.query(INSERT, [`${gid}.refused`]);
  service = await LittleService.start({
    sandbox,
    library,
    core: { inbox: { attemptsMax: 2 } },
    ...rest,
    controllers: [
      controllerOf([
        [mount, handle],
        [library.OnRejected(contract), refused],
      ]),
    ],
  });
}

/** Sends one message; answers its row of the inbox when nothing more will become of it. */
async function handled(): Promise<{ gid: string; state: string; error: string | null }> {
  const gid = `message-${++count}`;
  await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid }));
  const [row] = await until('the message is handled or parked', async () => {
    const query = `SELECT state, last_error AS error FROM dtx_inbox WHERE gid = ? AND state IN ('HANDLED', 'PARKED')`;
    const rows = await sql<{ state: string; error: string | null }>(sandbox, 'payment', query, [gid]);
    return rows.length > 0 && rows;
  });
  return { gid, ...row! };
}

const effects = async (gid: string) =>
  (await sql(sandbox, 'payment', 'SELECT gid FROM effect WHERE gid = ?', [gid])).length;

describe('SQL on another connection inside a handler', () => {
  test.each(['development', 'production'])(
    'SQL on another connection inside a handler is refused with NODE_ENV=%s, and the error says what to do',
    async (env) => {
      const before = process.env.NODE_ENV;
      process.env.NODE_ENV = env;
      try {
        await start(async (_tx, { gid }) => service.source.query(INSERT, [gid]));
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
        await service.source.query(INSERT, [gid]);
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
      await library.outsideTransaction(() => service.source.query(INSERT, [`${gid}.audit`]));
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
        sql(sandbox, 'payment', `SELECT 1 FROM effect WHERE gid = ?`, [gid]).then((rows) => rows.length > 0),
      ).then(() => service.source.query(INSERT, [`${gid}.later`]));
    });
    const { gid } = await handled();
    await later;
    expect(await effects(`${gid}.later`)).toBe(1);
  });
});

@Catch()
class Silent implements ExceptionFilter {
  catch() {
    return EMPTY;
  }
}
@Catch()
class OnlyLogs implements ExceptionFilter {
  catch(_: unknown, __: ArgumentsHost) {}
}
class Swallows implements NestInterceptor {
  intercept(_: unknown, next: CallHandler) {
    return next.handle().pipe(catchError(() => EMPTY));
  }
}
class AnswersItself implements NestInterceptor {
  intercept() {
    return of('done');
  }
}

const half: Handle = async (tx, { gid }) => {
  await tx.query(INSERT, [gid]);
  throw new Error('after its first half');
};

describe('the pipeline around a handler', () => {
  test.each([
    ['a filter that answers nothing', UseFilters(new Silent())],
    ['a filter that only logs', UseFilters(new OnlyLogs())],
    ['an interceptor that swallows the error', UseInterceptors(new Swallows())],
  ])('a handler does not commit a part of its work after %s', async (_, decorate) => {
    await start(half, { decorate: [decorate] });
    const { gid, state, error } = await handled();
    expect([state, error, await effects(gid)]).toEqual(['PARKED', 'after its first half', 0]);
  });

  test.each([
    ['a filter that answers nothing', UseFilters(new Silent())],
    ['a filter that only logs', UseFilters(new OnlyLogs())],
  ])('a refusal is not hidden by %s', async (_, decorate) => {
    const refuse: Handle = async () => {
      throw new library.Rejected('NO');
    };
    await start(refuse, { decorate: [decorate] });
    const { gid, state } = await handled();
    expect([state, await effects(`${gid}.refused`)]).toEqual(['HANDLED', 1]);
  });

  test('a message is not handled if an interceptor answers instead of the handler', async () => {
    await start(half, { decorate: [UseInterceptors(new AnswersItself())] });
    const { state, error } = await handled();
    expect(state).toBe('PARKED');
    expect(error).toContain('the handler did not run');
  });
});

describe('an append inside a savepoint', () => {
  const append = (tx: EntityManager, gid: string) => service.get(library.LocalMessages).append(tx, contract, { gid });
  const undone = async () => Promise.reject(new Error('undone'));
  const nested = async (tx: EntityManager, work: (inner: EntityManager) => Promise<unknown>) =>
    tx.transaction(work).catch(() => {});

  const ways: ReadonlyArray<readonly [string, (tx: EntityManager, gid: string) => Promise<unknown>, boolean]> = [
    ['that is rolled back sends nothing', (tx, gid) => nested(tx, (inner) => append(inner, gid).then(undone)), false],
    ['that is released sends', (tx, gid) => nested(tx, (inner) => append(inner, gid)), true],
    [
      'that is released inside one that is rolled back sends nothing',
      (tx, gid) => nested(tx, (outer) => nested(outer, (inner) => append(inner, gid)).then(undone)),
      false,
    ],
    [
      'by plain SQL that is rolled back sends nothing',
      async (tx, gid) => {
        await tx.query('SAVEPOINT mine');
        await append(tx, gid);
        await tx.query('ROLLBACK TO SAVEPOINT mine');
      },
      false,
    ],
    [
      'by plain SQL that is released sends',
      async (tx, gid) => {
        await tx.query('SAVEPOINT mine');
        await append(tx, gid);
        await tx.query('RELEASE SAVEPOINT mine');
      },
      true,
    ],
    [
      'that is set again under its name and rolled back sends nothing',
      async (tx, gid) => {
        await tx.query('SAVEPOINT mine');
        await tx.query('SAVEPOINT mine');
        await append(tx, gid);
        await tx.query('ROLLBACK TO mine');
      },
      false,
    ],
  ];

  test.each(ways)('%s', async (_, way, isSent) => {
    const heard: string[] = [];
    await start(async (_tx, { gid }) => void heard.push(gid));
    const gid = `savepoint-${++count}`;
    const source: DataSource = service.source;
    await source.transaction(async (tx) => {
      await way(tx, gid);
      await append(tx, `${gid}.after`);
    });
    await until('the message after it is handled', () => heard.includes(`${gid}.after`));
    const rows = await sql(sandbox, 'payment', 'SELECT id FROM dtx_outbox WHERE gid = ?', [gid]);
    if (isSent) await until('the message is handled', () => heard.includes(gid));
    expect([rows.length > 0, heard.includes(gid)]).toEqual([isSent, isSent]);
  });
});
