import { afterEach, expect, it } from 'vitest';
import { DtxError } from './errors/errors.js';
import { createStep, type Step, Traced, traceSteps } from './traced-steps.js';

type Contract = { name: string; version: number };

class Messages {
  @Traced((contract: Contract) => createStep('local-message', contract))
  async append(contract: Contract): Promise<string> {
    if (!contract) throw new DtxError('contract is undefined; look for a circular import');
    return contract.name;
  }
}

const seen: Step[] = [];
let remove = () => {};
afterEach(() => remove());
const trace = () => {
  remove = traceSteps((step, work) => {
    seen.push(step);
    return work();
  });
};

it('describes a call to the tracer', async () => {
  trace();
  expect(await new Messages().append({ name: 'order.placed', version: 1 })).toBe('order.placed');
  expect(seen).toMatchObject([{ operation: 'create', target: 'order.placed.v1' }]);
});

it('leaves the error about a missing contract to the method, as without a tracer', async () => {
  const append = () => new Messages().append(undefined as never);
  await expect(append()).rejects.toThrow(/circular import/);
  trace();
  await expect(append()).rejects.toThrow(/circular import/);
});
