// Asks the AMQP port of the broker whether it answers at all.
import { connect } from 'node:net';
import { serverUrlParts } from './server-url.js';

/** An AMQP server answers a protocol header that it does not support with the header it wants, then hangs up. */
export function amqpAnswers(url: string, { timeoutMs = 5_000 } = {}): Promise<void> {
  const { host, port, protocol } = serverUrlParts(url);
  if (protocol === 'amqps') return Promise.resolve(); // a TLS listener: left to the management API and to the apps
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(timeoutMs, () => fail(new Error(`no answer within ${timeoutMs / 1000} s`)));
    socket.on('connect', () => socket.write(Buffer.from('AMQP\x00\x00\x00\x00', 'latin1')));
    socket.on('error', fail);
    socket.on('close', () => reject(new Error('the connection was closed')));
    socket.once('data', (bytes) => {
      if (bytes.toString('latin1', 0, 4) !== 'AMQP') return fail(new Error('the answer is not AMQP'));
      resolve();
      socket.destroy();
    });
  });
}

/** Of the URLs of a broker, separated by commas, the first whose node answers. If none does, the first. */
export async function answeringNode(urls: string): Promise<string> {
  const nodes = urls.split(',').map((url) => url.trim());
  if (nodes.length === 1) return nodes[0]!;
  for (const url of nodes) {
    const answers = await amqpAnswers(url).then(
      () => true,
      () => false,
    );
    if (answers) return url;
  }
  return nodes[0]!;
}
