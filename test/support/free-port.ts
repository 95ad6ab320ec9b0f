import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { until } from './until.js';

/**
 * A free port below the range from which the kernel gives ports. Other programs that start meanwhile ask for any port, so
 * one of that range may be taken before the test's own server listens.
 */
export function freePort(): Promise<number> {
  return until('a port is free', async () => {
    const port = randomInt(20_000, 32_000);
    return (await isFree(port)) && port;
  });
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
