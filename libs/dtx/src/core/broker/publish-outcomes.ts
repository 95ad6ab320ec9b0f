import { BrokerUnavailable, DtxError, Unconfirmed } from '../errors/errors.js';

/**
 * The queue was deleted after its declaration, or the exchange leads to no queue. The broker confirms such a publish all the same, and returns the
 * message.
 */
export class Unroutable extends DtxError {}
/** The broker rejected the message with a nack: queue full, or alarm. Retryable. Does not count as an attempt. */
export class Nacked extends BrokerUnavailable {}

/** The error text of amqplib for a nack of the broker. Any other error means that the channel ended. */
const NACKED = 'message nacked';

/** The outcome of a sent message that amqplib ends with an error. */
export function notConfirmed({ message }: Error, name: string): Nacked | Unconfirmed {
  return message === NACKED
    ? new Nacked(`cannot publish to ${name}: RabbitMQ rejected the message (nack)`)
    : new Unconfirmed(`publish to ${name} unconfirmed: lost the connection to RabbitMQ`);
}

/** After the send, the outcome is unknown unless the broker rejected the message. */
export function onceSent(error: DtxError): DtxError {
  return error instanceof BrokerUnavailable && !(error instanceof Nacked) ? new Unconfirmed(error.message) : error;
}
