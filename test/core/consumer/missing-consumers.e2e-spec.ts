import { describe, expect, test } from 'vitest';
import { contractOf, controllerOf, libraryOf } from '../../fixtures/little-service.js';
import { sql } from '../../fixtures/sandbox.js';
import { untilOver, useMessageInService } from './message-in-service.js';

/** Nothing that was accepted falls silent: each scheme has a row whose owner notices, and tells a person once. */
const library = libraryOf();
const SHORT = { firstMs: 200, factor: 1, capMs: 200 };
const message = useMessageInService('missing_consumers', library);
const { start } = message;
/** The row ends first, then its alert. */
const isClosed = async () => (await message.alerts())[0]?.closed_at != null;

describe('a message without a consumer', () => {
  const contract = contractOf(library, 'gone');
  const append = () =>
    message.service.source.transaction((tx) =>
      message.service.get(library.LocalMessages).append(tx, contract, { gid: message.gid }),
    );

  test('a message without a consumer raises one alert after a while, which closes when a consumer handles it', async () => {
    const localMessage = { resend: SHORT, absentMs: 1_000, attemptsMax: 10_000 };
    await start({ localMessage });
    await append();
    const [alert] = await untilOver('an alert is raised', async () => {
      const told = await message.alerts();
      return told.length > 0 && told;
    });
    expect(alert!.alert_error).toContain('no consumer on queue dtx.payment.gone.v1.quorum');
    expect(await message.outboxState()).toBe('SENT');
    await message.service.close();
    await start({ localMessage, controllers: [controllerOf([[library.OnMessage(contract), async () => {}]])] });
    await untilOver('it is done', async () => (await message.outboxState()) === 'DONE');
    await untilOver('the alert is closed', isClosed);
    expect(await message.alerts()).toEqual([{ ...alert, closed_at: expect.any(Date) }]);
  });

  test('a message without a consumer is parked under the same alert when its attempts are used up', async () => {
    await start({ localMessage: { resend: SHORT, absentMs: 1_000, attemptsMax: 4 } });
    await append();
    await untilOver('it is parked', async () => (await message.outboxState()) === 'PARKED');
    expect(await message.alerts()).toHaveLength(1);
  });

  test('a message without a consumer raises no alert at first', async () => {
    await start({ localMessage: { resend: SHORT, attemptsMax: 2 } });
    await append();
    const query = 'SELECT last_error FROM dtx_outbox WHERE gid = ?';
    await untilOver('it was looked at', async () =>
      /no consumer on queue/.test(String((await sql(message.sandbox, 'payment', query, [message.gid]))[0]?.last_error)),
    );
    expect([await message.outboxState(), await message.alerts()]).toEqual(['SENT', []]);
  });
});

test('a half message without a consumer raises one alert and is done when a consumer has handled it', async () => {
  const contract = contractOf(library, 'half-gone', { replicated: true });
  const halfMessage = { markDelayMs: 1, sweepAfterMs: 300, sweepBackoff: SHORT, absentMs: 1_000, attemptsMax: 10_000 };
  const verdict = async () =>
    (
      await sql<{ state: string }>(message.sandbox, 'payment', 'SELECT state FROM dtx_half WHERE gid = ?', [
        message.gid,
      ])
    )[0]?.state;
  await start({ halfMessage });
  await message.service.get(library.HalfMessages).send(contract, { gid: message.gid }, async () => {});
  const [alert] = await untilOver('an alert is raised', async () => {
    const told = await message.alerts();
    return told.length > 0 && told;
  });
  expect(alert!.alert_error).toContain('no consumer on queue dtx.payment.half-gone.v1');
  expect(await verdict()).toBe('SENT');
  await message.service.close();
  await start({ halfMessage, controllers: [controllerOf([[library.OnMessage(contract), async () => {}]])] });
  await untilOver('it is done', async () => (await verdict()) === 'DONE');
  await untilOver('the alert is closed', isClosed);
  expect(await message.alerts()).toEqual([{ ...alert, closed_at: expect.any(Date) }]);
  expect(await message.inboxState()).toBe('HANDLED');
});

test('messages without a row and without a consumer raise one alert until a consumer comes', async () => {
  const contract = contractOf(library, 'reliable-gone', { replicated: true });
  const core = { absentMs: 1_000 };
  const told = () =>
    sql<{ closed_at: Date | null }>(
      message.sandbox,
      'payment',
      'SELECT closed_at FROM dtx_alert WHERE subject_id = ?',
      ['dtx.payment.reliable-gone.v1'],
    );
  await start({ core });
  for (let n = 0; n < 3; n++)
    await message.service.source.transaction((tx) =>
      message.service.get(library.ConfirmedMessages).publish(tx, contract, { gid: message.gid }),
    );
  await untilOver('an alert is raised', async () => (await told()).length > 0);
  await message.service.close();
  await start({ core, controllers: [controllerOf([[library.OnMessage(contract), async () => {}]])] });
  await untilOver('the alert is closed', async () => (await told())[0]!.closed_at !== null);
  expect(await told()).toHaveLength(1);
});
