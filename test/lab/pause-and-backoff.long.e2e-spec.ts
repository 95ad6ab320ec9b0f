import { afterAll, beforeAll, expect, test } from 'vitest';
import { LabStand } from '../fixtures/lab-stand.js';
import { sql } from '../fixtures/sandbox.js';

/** Further away than any break waits. */
const NEXT_CALL_MS = 1_200_000;
let stand: LabStand;

beforeAll(async () => {
  // The merchant is the order app. While it is stopped, the first call fails soon and the second one is far away.
  const notify = { callTimeoutMs: 1_000, ladderMs: [NEXT_CALL_MS] };
  stand = await LabStand.start('lab_pause', { options: { notify } });
});
afterAll(() => stand?.stop());

test('a pause of the app that payment notifies heals, though the next call of the notification was minutes away', async () => {
  const { status, body } = await stand.call('POST', '/api/breaks', {
    point: 'local-message.committed',
    mode: 'pause',
  });
  expect([status, body]).toEqual([202, expect.objectContaining({ kind: 'break' })]);
  const { lines, result, gid } = await stand.untilEnded(Number((body as { id: number }).id), 110_000);
  expect([result, lines.at(-1)]).toEqual([{ healed: true }, 'healed: local-message.committed']);
  expect(lines.join('\n')).toContain('payment: the next attempt was far away, since attempts had failed');
  // The control: without the retry of the break, the row would still wait for its next call.
  const retries = await sql(stand.sandbox, 'payment', "SELECT note FROM dtx_operation WHERE action = 'retry'");
  expect(retries).toEqual([{ note: 'the next attempt was far away after a break' }]);
  const rows = await sql(stand.sandbox, 'payment', 'SELECT state FROM dtx_notification WHERE gid = ?', [gid]);
  expect(rows).toEqual([{ state: 'DELIVERED' }]);
}, 120_000);
