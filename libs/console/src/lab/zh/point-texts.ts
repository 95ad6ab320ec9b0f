import type { Point } from '../lab-types.js';
import { halfMessage, localMessage, notify, reliableMessage } from './points-of-messages.js';
import { saga, tcc, xa } from './points-of-transactions.js';

/** By the last part of a point's name: the state on disk, the component that finishes, and how it is reached if by more than a purchase. */
export type PointTexts = Readonly<
  Record<string, readonly [disk: string, finisher: string] | readonly [disk: string, finisher: string, because: string]>
>;

const SCHEMES: Readonly<Record<string, PointTexts>> = {
  'local-message': localMessage,
  'half-message': halfMessage,
  'reliable-message': reliableMessage,
  notify,
  saga,
  tcc,
  xa,
};

/** The point with its texts in Chinese. A point without them keeps the English ones. A rules test finds it. */
export function inChinese<Named extends Pick<Point, 'name' | 'disk' | 'finisher' | 'because'>>(point: Named): Named {
  const [scheme = '', name = ''] = point.name.split('.');
  const texts = SCHEMES[scheme]?.[name];
  return texts ? { ...point, disk: texts[0], finisher: texts[1], because: texts[2] ?? null } : point;
}

/** Every point that has texts. */
export const namesInChinese = (): string[] =>
  Object.entries(SCHEMES).flatMap(([scheme, texts]) => Object.keys(texts).map((name) => `${scheme}.${name}`));
