// The file that gives a shell the addresses of the demo's apps and servers.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { App } from '../../servers/server-set.js';

/** Variables that a shell passes to its programs. */
const EXPORTED = ['ORDER_URL', 'PAYMENT_URL', 'INVENTORY_URL', 'DTX_ADMIN_TOKEN'];

/**
 * Writes `.infra/demo/env`, for `. .infra/demo/env` in a shell. Only its owner may read the passwords. The addresses of the
 * servers are not exported: `npm test` would take them for servers that are given by URL.
 */
export function writeEnvFile(
  dir: string,
  { urls, sandbox, token }: { urls: Record<App, string>; sandbox: Sandbox; token: string },
): string {
  const path = join(dir, 'env');
  const variables = {
    ORDER_URL: urls.order,
    PAYMENT_URL: urls.payment,
    INVENTORY_URL: urls.inventory,
    DTX_ORDER_URL: urls.order,
    DTX_PAYMENT_URL: urls.payment,
    DTX_INVENTORY_URL: urls.inventory,
    DTX_ADMIN_TOKEN: token,
    DTX_ORDER_DATABASE_URL: sandbox.databases.order,
    DTX_PAYMENT_DATABASE_URL: sandbox.databases.payment,
    DTX_INVENTORY_DATABASE_URL: sandbox.databases.inventory,
    DTX_RABBITMQ_URL: sandbox.rabbitmq,
    DTX_RABBITMQ_MANAGEMENT_URL: sandbox.management,
    DTX_REDIS_URL: sandbox.redis,
  };
  const lines = Object.entries(variables).map(
    ([name, value]) => `${EXPORTED.includes(name) ? 'export ' : ''}${name}='${String(value).replaceAll("'", "'\\''")}'`,
  );
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 });
  return path;
}
