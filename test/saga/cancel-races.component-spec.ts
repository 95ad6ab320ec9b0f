import { expect, it } from 'vitest';
import { contradictions, race } from './cancel-races.js';
import { useStage } from './stage.js';

const stage = useStage('saga_races');
const RACES = 100;

it(`${RACES} cancels against pivots over two instances each end as the answer to the cancel says`, async () => {
  const second = await stage.startSecond();
  const races = await race(stage, second, RACES);
  expect(contradictions(races)).toEqual([]);
  // A run without both answers has not raced.
  expect(races.filter(({ answer }) => answer === 'CANCELLING').length).toBeGreaterThan(0);
  expect(races.filter(({ answer }) => answer !== 'CANCELLING').length).toBeGreaterThan(0);
}, 600_000);
