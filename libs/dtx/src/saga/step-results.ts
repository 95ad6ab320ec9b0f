// The result of a Do: the JSON that is stored, and the value that Undo and Done get. `FakeSagas` shares these rules.
import { z } from 'zod';
import { checkedJson } from '../core/broker/outgoing-payload.js';
import { acceptedBy, applySchema, problemOfSchema, type StandardSchema } from '../core/broker/schema.js';
import { DtxError } from '../core/errors/errors.js';
import { copyOfJson } from '../core/json-copy.js';
import type { StepContract } from './step-contract.js';

/** The result of a Do without a schema in its contract. */
const ANY_JSON = z.unknown();

/** A value does not fit the contract of this process. A retry has the same one, so it cannot succeed. */
export class Misfit extends Error {}

/**
 * Returns the JSON of what a Do has returned. Nothing stays undefined.
 * @throws DtxError when the result cannot be stored, which undoes the Do
 */
export function resultOf({ name, version, result }: StepContract, returned: unknown, bytesMax: number): unknown {
  if (returned === undefined && (!result || applySchema(result, undefined).ok)) return undefined;
  const subject = {
    whole: 'result',
    misfit: `result of Do does not fit saga step ${name} v${version}`,
    option: 'payloadMaxBytes',
  } as const;
  return JSON.parse(checkedJson(subject, result ?? ANY_JSON, returned, bytesMax).json);
}

/** @throws Misfit if the stored result does not fit the contract of this process */
export function storedResult({ name, result }: StepContract, data: unknown): unknown {
  if (!result || data === undefined) return data;
  return applied(result, copyOfJson(data), `stored result does not fit saga step ${name}`);
}

/** The value of a schema for JSON of another process. @throws Misfit */
export function applied(schema: StandardSchema, json: unknown, misfit: string): unknown {
  try {
    return acceptedBy(schema, json, misfit);
  } catch (error) {
    throw new Misfit(error instanceof DtxError ? error.message : `${misfit}: ${problemOfSchema(error)}`);
  }
}
