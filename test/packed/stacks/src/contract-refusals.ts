import { defineMessage, OptionsError } from 'nest-dtx';
import { z } from 'zod';
import { contractOf } from './sent-message.js';

const asked = { version: 1, schema: z.object({ id: z.string() }), gid: ({ id }: { id: string }) => id };

/** Contracts with a mistake in each, and what the library says when they are defined. */
export async function contractRefusals(): Promise<object> {
  contractOf('refused.twice');
  const definitions: Record<string, () => unknown> = {
    name: () => defineMessage({ ...asked, name: 'Asked', consumers: ['refused.take'] }),
    version: () => defineMessage({ ...asked, name: 'asked.version', version: 0, consumers: ['refused.take'] }),
    schema: () => defineMessage({ ...asked, name: 'asked.schema', schema: {} as never, consumers: ['refused.take'] }),
    noConsumer: () => defineMessage({ ...asked, name: 'asked.nobody', consumers: [] }),
    consumerTwice: () => defineMessage({ ...asked, name: 'asked.doubled', consumers: ['refused.one', 'refused.one'] }),
    consumerName: () => defineMessage({ ...asked, name: 'asked.named', consumers: ['take'] }),
    reserved: () => defineMessage({ ...asked, name: 'asked.reserved', consumers: ['refused.receipts'] }),
    ofAnother: () => defineMessage({ ...asked, name: 'asked.taken', consumers: ['refused.twice'] }),
  };
  return Object.fromEntries(Object.entries(definitions).map(([mistake, define]) => [mistake, refusalOf(define)]));
}

function refusalOf(define: () => unknown): string {
  try {
    define();
  } catch (error) {
    return `${error instanceof OptionsError ? 'OptionsError' : 'another error'}: ${(error as Error).message}`;
  }
  return 'not refused';
}
