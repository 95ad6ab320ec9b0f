import { expect, it } from 'vitest';
import { FewAtOnce } from './few-at-once.js';

it('lets so many work at once, hands a place on, and refuses a call that has waited long enough', async () => {
  const few = new FewAtOnce(2, 200);
  const ends: Array<() => void> = [];
  let working = 0;
  const work = async () => {
    working++;
    await new Promise<void>((end) => ends.push(end));
    working--;
  };
  const first = [few.run(work), few.run(work)];
  const third = few.run(work);
  const late = few.run(work).catch((error: Error) => error.message);
  expect(working).toBe(2);
  ends.shift()!();
  await first[0];
  expect(await late).toBe('2 calls were at work for 200 ms');
  expect(working).toBe(2);
  for (const end of ends.splice(0)) end();
  await Promise.all([first[1], third]);
  expect(working).toBe(0);
  await Promise.all([few.run(async () => {}), few.run(async () => {}), few.run(async () => {})]);
});
