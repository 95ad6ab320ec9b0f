import { z } from 'zod';
import type { TccOutcome } from '../../libs/dtx/src/index.js';
import type { Sandbox } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { type Library, LittleApp, participantOf } from './little-app.js';

/** Enough for a new connection on a busy machine. */
const DEADLINE_MS = 10_000;

/** What a participant has run: the phases of its business. */
interface Played {
  readonly outcome: TccOutcome;
  readonly ms: number;
  readonly ran: readonly string[];
}

/** A transaction whose initiator loses its connections to the broker while the participant runs Try. */
export async function tryWithLostConnection(
  { sandbox, library }: { sandbox: Sandbox; library: Library },
  keep: (thing: { close(): Promise<unknown> }) => unknown,
): Promise<Played> {
  const ran: string[] = [];
  const proxy = await TcpProxy.start(sandbox.rabbitmq);
  const contract = library.decorators.defineParticipant({ name: 'inventory.hold', version: 1, args: z.object({}) });
  const hold = participantOf(library, contract, {
    try: () => {
      ran.push('try');
      proxy.cut();
      proxy.heal();
    },
    confirm: () => ran.push('confirm'),
    cancel: () => ran.push('cancel'),
  });
  const participant = await LittleApp.start({ sandbox, library, app: 'inventory', providers: [hold] });
  const core = { rabbitmqUrl: proxy.url };
  const initiator = await LittleApp.start({ sandbox, library, app: 'order', core });
  for (const one of [initiator, participant, proxy]) keep(one);
  const since = performance.now();
  const outcome = await initiator.tcc.run({ gid: 'lost', timeoutMs: DEADLINE_MS }, (t) => t.call(contract, {}));
  return { outcome, ms: performance.now() - since, ran };
}
