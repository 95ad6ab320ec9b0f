import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
const contract = contractOf(library, 'replicated-source');
const handled: string[] = [];
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('replication', { audited: false });
});

afterAll(() => service?.close());

test('a DataSource with `replication` sends and handles messages at its master', async () => {
  const url = sandbox.databases.payment;
  const handle = async (_: unknown, { gid }: { gid: string }) => void handled.push(gid);
  const source = { url: undefined, replication: { master: { url }, slaves: [{ url }] } } as object;
  const controllers = [controllerOf([[library.OnMessage(contract), handle]])];
  service = await LittleService.start({ sandbox, library, controllers, source });
  await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid: 'one' }));
  await until('it is handled', () => handled.length > 0);
  expect(handled).toEqual(['one']);
});
