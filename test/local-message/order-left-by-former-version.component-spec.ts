// A rolling deployment takes out the last contract with `inOrderOf`. Its last instances may leave messages after the others have started.
import { afterAll, beforeAll, test } from 'vitest';
import { SqlProxy } from '../../tools/src/commands/bench/sql-packets.js';
import { contractOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const plain = contractOf(library, 'left-plain', { app: 'inventory' });
let sandbox: Sandbox;
let proxy: SqlProxy;
let service: LittleService;
let looks = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('order_left', { audited: false });
  proxy = await SqlProxy.start(sandbox.databases.payment);
  proxy.onAnswer = (shape) => shape.includes('AS found') && shape.includes('dtx_keyed') && looks++;
  service = await LittleService.start({ sandbox, library, url: proxy.url, localMessage: { absentMs: 300 } });
});
afterAll(async () => {
  await service?.close();
  await proxy?.close();
});

test('messages with a key that are left after the start of an instance without ordered contracts are sent', async () => {
  await until('it has looked for left messages', () => looks > 0);
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_keyed (id, gid, contract, version, payload, awaiting, consumers, stream_key, seq, open_key, on_parked,
       state, next_attempt_at, created_at)
     VALUES (UUID(), 'left', ?, 1, '{"gid":"left"}', ?, ?, 'left', 1, 'left', 'stop', 'PENDING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [plain.name, `,${plain.consumers[0]},`, `,${plain.consumers[0]},`],
  );
  await until('it is sent', async () => {
    const [row] = await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_keyed');
    return row!.state === 'SENT';
  });
});
