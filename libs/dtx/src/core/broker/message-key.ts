import type { ConsumeMessage } from 'amqplib';

/** Identifies a message in this process. A message without an id is identified by its size. */
export function keyOf({ properties, content }: ConsumeMessage): string {
  return String(properties.messageId ?? `${content.length} bytes`).slice(0, 200);
}
