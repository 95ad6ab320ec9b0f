import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { anyFreePort } from './app-ports.js';

test('a free port is below the range from which the kernel gives ports, and can be listened on', async () => {
  for (let n = 0; n < 20; n++) {
    const port = await anyFreePort();
    expect(port).toBeLessThan(32_768);
    const server = createServer();
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
    await new Promise((resolve) => server.close(resolve));
  }
});
