/** The name, kind and attributes of the span of a step, by the semantic conventions for messaging (1.27 and later). */
import { type Attributes, SpanKind } from '@opentelemetry/api';
import type { Step } from '../core/traced-steps.js';

export interface StepSpan {
  readonly name: string;
  readonly kind: SpanKind;
  readonly attributes: Attributes;
}

/** The steps that are messaging operations. `create` has no destination, since a message goes to a queue per consumer. */
const MESSAGING: Readonly<Record<string, { type: string; kind: SpanKind }>> = {
  create: { type: 'create', kind: SpanKind.PRODUCER },
  publish: { type: 'send', kind: SpanKind.CLIENT },
  process: { type: 'process', kind: SpanKind.CONSUMER },
  reject: { type: 'process', kind: SpanKind.CONSUMER },
  'before-ack': { type: 'process', kind: SpanKind.CONSUMER },
};

export function spanOf(step: Step): StepSpan {
  const { operation, target, scheme, gid } = step;
  const attributes = { 'nest_dtx.scheme': scheme, ...(gid && { 'nest_dtx.gid': gid }) };
  const messaging = MESSAGING[operation];
  if (!messaging)
    return { name: [scheme, operation, target].filter(Boolean).join(' '), kind: SpanKind.INTERNAL, attributes };
  return {
    name: `${operation} ${target}`,
    kind: messaging.kind,
    attributes: { ...attributes, ...messagingAttributes(step, messaging.type) },
  };
}

function messagingAttributes({ operation, target, gid, messageId }: Step, type: string): Attributes {
  return {
    'messaging.system': 'rabbitmq',
    'messaging.operation.type': type,
    'messaging.operation.name': operation,
    // The default exchange: the routing key is the name of the queue.
    ...(type === 'create'
      ? { 'nest_dtx.contract': target }
      : { 'messaging.destination.name': target, 'messaging.rabbitmq.destination.routing_key': target }),
    ...(messageId && { 'messaging.message.id': messageId }),
    ...(gid && { 'messaging.message.conversation_id': gid }),
  };
}
