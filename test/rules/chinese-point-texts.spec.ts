import { expect, test } from 'vitest';
import { inChinese, namesInChinese } from '../../libs/console/src/lab/zh/point-texts.js';
import { schemesWithPoints } from '../../tools/src/commands/lab/scheme-list.js';

const points = schemesWithPoints().flatMap((scheme) => scheme.points);
const CHINESE = /[一-鿿]/;

test('each crash point of the lab has its texts in Chinese, in libs/console/src/lab/zh', () => {
  expect(points.length).toBeGreaterThan(60);
  const lacking = points.filter((point) => {
    const { disk, finisher, because } = inChinese(point);
    return (
      !CHINESE.test(disk) ||
      !CHINESE.test(finisher) ||
      (point.because === null ? because !== null : !CHINESE.test(because ?? ''))
    );
  });
  expect(lacking.map(({ name }) => name)).toEqual([]);
});

test('no Chinese text belongs to a point that does not exist', () => {
  const known = points.map(({ name }) => name);
  expect(namesInChinese().filter((name) => !known.includes(name))).toEqual([]);
});

test('a text names the same states as the English one', () => {
  const states = (text: string) => [...new Set(text.match(/\b[A-Z]{4,}(_[A-Z]+)*\b/g))].sort();
  for (const point of points) {
    const { disk, finisher } = inChinese(point);
    expect([point.name, states(disk), states(finisher)]).toEqual([
      point.name,
      states(point.disk),
      states(point.finisher),
    ]);
  }
});
