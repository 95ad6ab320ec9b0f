// What the lab accepts from its page. A wrong body is answered with the field, its value, and what is expected.

import { OperatorError } from '../../cli/operator-error.js';
import { type PurchaseScheme, SCHEMES, type Wanted } from '../../shop/purchase.js';
import { type Failpoint, findFailpoint } from '../break/known-failpoints.js';
import { MODES, type Mode } from '../break/run.js';
import { LabError } from './lab-error.js';

const NAME = /^[A-Za-z0-9][\w.-]{0,63}$/;
const QUANTITY_MAX = 1_000;

type Body = Record<string, unknown>;

export function readWanted(given: unknown): Wanted {
  const body = readObject(given);
  const { quantity } = body;
  if (typeof quantity !== 'number' || !Number.isInteger(quantity) || quantity < 1 || quantity > QUANTITY_MAX)
    throw refusal('quantity', quantity, `a whole number from 1 to ${QUANTITY_MAX}`);
  return { buyerId: readName(body, 'buyerId'), sku: readName(body, 'sku'), quantity };
}

export const readScheme = (given: unknown): PurchaseScheme => {
  const names = Object.keys(SCHEMES) as PurchaseScheme[];
  return readChoice(readObject(given), 'scheme', names);
};

export const readMode = (given: unknown): Mode => readChoice(readObject(given), 'mode', MODES);

export function readPoint(given: unknown): Failpoint {
  const { point } = readObject(given);
  if (typeof point !== 'string') throw refusal('point', point, 'the name of a failpoint');
  try {
    return findFailpoint(point);
  } catch (error) {
    throw error instanceof OperatorError ? new LabError(400, error.message) : error;
  }
}

function readObject(given: unknown): Body {
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given as Body;
  throw new LabError(400, `the body is ${shown(given)}; send a JSON object`);
}

function readName(body: Body, field: string): string {
  const value = body[field];
  if (typeof value === 'string' && NAME.test(value)) return value;
  throw refusal(field, value, '1 to 64 of A-Z, a-z, 0-9, _, . and -, such as alice');
}

function readChoice<Choice extends string>(body: Body, field: string, choices: readonly Choice[]): Choice {
  const found = choices.find((one) => one === body[field]);
  if (found !== undefined) return found;
  throw refusal(field, body[field], `one of ${choices.join(', ')}`);
}

const refusal = (field: string, value: unknown, expected: string) =>
  new LabError(400, `${field} is ${shown(value)}; expected ${expected}`);

const shown = (value: unknown) => (value === undefined ? 'missing' : JSON.stringify(value).slice(0, 80));
