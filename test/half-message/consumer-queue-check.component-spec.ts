import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Conditions } from '../../libs/dtx/src/core/dependency-health-registry.js';
import { Administrator } from '../core/broker/broker-administrator.js';
import { built } from '../fixtures/built-library.js';
import { contractOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const { Conditions: BuiltConditions }: { Conditions: typeof Conditions } = built('core/dependency-health-registry.js');
const QUEUE = 'dtx.payment.wrong-kind.v1';
const contract = contractOf(library, 'wrong-kind', { replicated: true });
let sandbox: Sandbox;
let admin: Administrator;
let service: LittleService | undefined;

beforeAll(async () => {
  sandbox = await freshSandbox('wrong_queue', { audited: false });
  admin = await Administrator.of(sandbox);
});

afterEach(async () => {
  await service?.close();
});

afterAll(() => admin?.close());

const conditions = () => service!.get(BuiltConditions).all.filter(({ name }) => name.startsWith('queue '));

test('a consumer queue of another kind is named at start, and its half messages fail before their transaction', async () => {
  await admin.declare(QUEUE, 'classic');
  service = await LittleService.start({ sandbox, library });
  const [found] = await until('the queue is named', () => conditions().length > 0 && conditions());
  expect(found).toEqual({ name: `queue ${QUEUE}`, reason: expect.stringMatching(/it exists with other arguments/) });

  let worked = 0;
  const send = (gid: string) =>
    service!.get(library.HalfMessages).send(contract, { gid }, async () => {
      worked++;
    });
  await expect(send('refused')).rejects.toMatchObject({ name: 'QueueRefused' });
  expect(worked).toBe(0);
  expect(await sql(sandbox, 'payment', `SELECT id FROM dtx_half WHERE state = 'COMMITTED'`)).toEqual([]);

  await admin.remove(QUEUE);
  await until('nothing is named any more', () => conditions().length === 0);
  // The publisher remembers a refusal for some seconds.
  await until('a half message is sent', () => send('sent').then(() => true));
  expect(worked).toBe(1);
});

test('a consumer queue that does not exist yet is neither named nor created at start', async () => {
  const later = contractOf(library, 'comes-later', { replicated: true });
  await admin.remove(QUEUE);
  await admin.declare(QUEUE, 'classic');
  service = await LittleService.start({ sandbox, library });
  const names = await until('the queues were looked at', () => conditions().length > 0 && conditions());
  expect(names).toMatchObject([{ name: `queue ${QUEUE}` }]);
  expect(await service.get(library.Broker).publisher.find(`dtx.${later.consumers[0]}.v1`)).toBeNull();
});
