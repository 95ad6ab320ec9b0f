import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { library, saga } from './saga-apps.js';
import { useSagaApps } from './saga-databases.js';

const apps = useSagaApps('saga_siblings');
const none = z.object({});
const step = (name: string) => saga.defineStep({ name, version: 1, args: none });
const [flight, hotel, pay] = [step('order.flight'), step('order.hotel'), step('order.pay')];
const trip = saga.defineSaga({
  name: 'order.trip',
  version: 1,
  input: none,
  deadlineMs: 60_000,
  steps: ({ compensable, pivot }) => [
    [compensable(flight, () => ({})), compensable(hotel, () => ({}))],
    pivot(pay, () => ({})),
  ],
});

it.each([
  [flight, hotel],
  [hotel, flight],
])(
  'an Undo of a group that keeps failing parks the saga with one alert, and its sibling is undone: %o',
  async (broken, sibling) => {
    const undo = () => {
      throw new Error('the desk is closed');
    };
    const app = await apps.start({
      sagas: [trip],
      steps: [
        [broken, { undo }],
        [sibling],
        [pay, { undo: null, do: () => Promise.reject(new library.Rejected('INSUFFICIENT_FUNDS')) }],
      ],
    });
    const gid = await app.begin(trip, {}, randomUUID());
    await apps.untilIs(gid, 'PARKED');
    expect((await apps.effects('order', gid)).sort()).toEqual([flight.name, hotel.name, `undo ${sibling.name}`].sort());
    await apps.stop(app);
  },
);
