// The broker as seen from outside: its management HTTP API, and whether its AMQP port answers at all.
import { connect } from 'node:net';
import { serverUrlParts } from './server-url.mjs';

/** One call to the management API. `allow` lists the statuses, beside 2xx, that are an answer and not a failure. */
export async function management(url, method, path, body, { timeoutMs = 15_000, allow = [] } = {}) {
  const { protocol, host, username, password } = new URL(url);
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
  const response = await fetch(`${protocol}//${host}/api${path}`, {
    method,
    headers: { authorization: `Basic ${credentials}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  }).catch((error) => {
    throw new Error(`the management API at ${host} does not answer (${error.cause?.code ?? error.message})`);
  });
  const text = await response.text();
  if (!response.ok && !allow.includes(response.status)) {
    throw Object.assign(new Error(`${method} /api${path} answered ${response.status} ${text.slice(0, 200)}`), {
      status: response.status,
    });
  }
  return response.ok && text !== '' ? JSON.parse(text) : null;
}

/** An AMQP server answers a protocol header that it does not speak with the header it wants, then hangs up. */
export function amqpAnswers(url, { timeoutMs = 5_000 } = {}) {
  const { host, port, protocol } = serverUrlParts(url);
  if (protocol === 'amqps') return Promise.resolve(); // a TLS listener: left to the management API and to the apps
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const finish = (settle, value) => {
      socket.destroy();
      settle(value);
    };
    socket.setTimeout(timeoutMs, () => finish(reject, new Error(`no answer within ${timeoutMs / 1000} s`)));
    socket.on('connect', () => socket.write(Buffer.from('AMQP\x00\x00\x00\x00', 'latin1')));
    socket.on('error', (error) => finish(reject, error));
    socket.on('close', () => reject(new Error('the connection was closed')));
    socket.once('data', (bytes) =>
      bytes.toString('latin1', 0, 4) === 'AMQP' ? finish(resolve) : finish(reject, new Error('the answer is not AMQP')),
    );
  });
}
