import { expect, it } from 'vitest';
import { FewAtOnce } from './timed-semaphore.js';

it('FewAtOnce bounds concurrent calls, hands a place on, and rejects a call after its wait', async () => {
  const few = new FewAtOnce('restock', 2, 200);
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
  expect(await late).toBe('restock not started: 2 others ran for 200 ms; nothing was done, retry with the same key');
  expect(working).toBe(2);
  for (const end of ends.splice(0)) end();
  await Promise.all([first[1], third]);
  expect(working).toBe(0);
  await Promise.all([few.run(async () => {}), few.run(async () => {}), few.run(async () => {})]);
});
