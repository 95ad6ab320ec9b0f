import { checkedJson } from '../core/broker/outgoing-payload.js';
import type { CallEntry, SagaScope } from './saga-entries.js';

/**
 * The arguments of a call, in the form that the app of the step gets. `FakeSagas` shares this rule.
 * @throws DtxError that names the field
 */
export function argumentsOf({ step, args }: CallEntry, data: SagaScope<unknown>, bytesMax: number): unknown {
  const misfit = `arguments do not fit saga step ${step.name} v${step.version}`;
  const subject = { whole: 'arguments', misfit, option: 'payloadMaxBytes' } as const;
  return JSON.parse(checkedJson(subject, step.args, args(data as never), bytesMax).json);
}
