import { expect, onTestFinished, test } from 'vitest';
import { freshSandbox } from '../fixtures/sandbox.js';
import { libraryOf } from './little-app.js';
import { tryWithLostConnection } from './lost-connection-during-try.js';

/** Without a repeat, the answer comes at the deadline of 10 s. */
const WELL_BEFORE_MS = 8_000;

test('a Try whose answer was lost with the connection is sent again, and its business runs once', async () => {
  const sandbox = await freshSandbox('tcc_lost_connection', { audited: false });
  const { outcome, ms, ran } = await tryWithLostConnection({ sandbox, library: libraryOf() }, (thing) =>
    onTestFinished(async () => void (await thing.close())),
  );
  expect(outcome).toMatchObject({ status: 'CONFIRMED' });
  expect(ran).toEqual(['try', 'confirm']);
  expect(ms).toBeLessThan(WELL_BEFORE_MS);
});
