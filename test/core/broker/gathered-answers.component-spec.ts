// Calls that share a transaction end in one turn of the event loop, and so do their answers.
import { randomUUID } from 'node:crypto';
import { connect } from 'amqplib';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { buildMutant, copyBuild } from '../../mutants/build-copy.js';
import { type Library, LittleApp, libraryOf, participantOf } from '../../tcc/little-app.js';
import { severalForEveryone } from './gathered-answers.mutants.js';

const CALLS = 60;
const QUEUE = 'dtx.payment.tcc-funds.v1.quorum';
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('gathered_answers', { audited: false });
});

/** A caller without the library: sends Tries, and reads the bodies of the messages that come back. */
async function answersTo(library: Library, caller: { takesSeveral?: boolean }): Promise<object[]> {
  const args = z.object({ amount: z.number() });
  const funds = library.decorators.defineParticipant({ name: 'payment.funds', version: 1, args });
  const participates = { callsPerTransaction: 16, prefetch: CALLS };
  const app = await LittleApp.start({ sandbox, library, providers: [participantOf(library, funds, {})], participates });
  onTestFinished(() => app.close());
  const connection = await connect(sandbox.rabbitmq);
  onTestFinished(() => connection.close());
  const channel = await connection.createChannel();
  const replyTo = `dtx.order.tcc-answers.${randomUUID()}`;
  await channel.assertQueue(replyTo, { exclusive: true });
  const bodies: object[] = [];
  const receive = (text: string | undefined) => text && bodies.push(JSON.parse(text));
  await channel.consume(replyTo, (message) => void receive(message?.content.toString()), { noAck: true });
  const asked = Array.from({ length: CALLS }, () => randomUUID());
  for (const callId of asked) {
    const call = { callId, gid: `gid-${callId}`, branch: 0, initiator: 'order', incarnation: '0123456789abcdef' };
    const body = JSON.stringify({ ...call, phase: 'try', args: { amount: 1 }, ...caller });
    channel.sendToQueue(QUEUE, Buffer.from(body), { type: 'dtx.tcc-call.v1', replyTo });
  }
  await until('all calls are answered', () => idsIn(bodies).size === CALLS);
  expect(idsIn(bodies)).toEqual(new Set(asked));
  return bodies;
}

const idsIn = (bodies: readonly object[]) =>
  new Set(bodies.flatMap((body) => ('answers' in body ? (body.answers as object[]) : [body])).map(idOf));
const idOf = (answer: object) => (answer as { callId: string }).callId;

test('answers of one turn are one message for a caller that reads several', async () => {
  const bodies = await answersTo(libraryOf(), { takesSeveral: true });
  expect(bodies.length).toBeLessThan(CALLS / 2);
});

test('a caller of the version before gets each answer in its own message', async () => {
  const bodies = await answersTo(libraryOf(), {});
  expect(bodies.filter((body) => 'answers' in body)).toEqual([]);
});

test('control: without the look at the caller, it gets messages that it cannot read', async () => {
  const library = libraryOf(buildMutant(copyBuild(severalForEveryone.name), severalForEveryone));
  const bodies = await answersTo(library, {});
  expect(bodies.filter((body) => 'answers' in body)).not.toEqual([]);
});
