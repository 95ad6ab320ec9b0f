// The environment of the demo's apps, and the file that gives a shell the same addresses.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What an app needs to know, see the README's table of variables. */
export function environmentOf(app, { world, token, urls, notifySecret }) {
  const common = {
    DTX_DATABASE_URL: world.databases[app],
    DTX_RABBITMQ_URL: world.rabbitmq,
    DTX_ADMIN_TOKEN: token,
    DTX_NOTIFY_SECRET: notifySecret,
  };
  // The merchant, whose part the order app plays, is on this machine: a private target has to be allowed.
  if (app === 'payment') {
    const merchant = new URL('/payment-results', urls.order);
    const { DTX_NOTIFY_URL = merchant.href, DTX_NOTIFY_ALLOW = merchant.host } = process.env;
    return { ...common, DTX_NOTIFY_URL, DTX_NOTIFY_ALLOW };
  }
  if (app !== 'order') return common;
  return {
    ...common,
    DTX_PAYMENT_URL: urls.payment,
    DTX_REDIS_URL: world.redis,
    DTX_XA_PAYMENT_DATABASE_URL: world.databases.payment,
    DTX_XA_INVENTORY_DATABASE_URL: world.databases.inventory,
    DTX_OPTIONS: withDeployment(process.env.DTX_OPTIONS, world.name),
  };
}

/**
 * The decision log of XA is bound to the world's name: the servers are the demo's own, wherever this folder is moved and
 * whatever this machine is called tomorrow. What is no JSON is left to the app to refuse.
 */
export function withDeployment(given, name) {
  try {
    const options = JSON.parse(given || '{}');
    return JSON.stringify({ ...options, xa: { deployment: name, ...options.xa } });
  } catch {
    return given;
  }
}

/** What a shell hands on to the programs that it starts. */
const EXPORTED = ['ORDER_URL', 'PAYMENT_URL', 'INVENTORY_URL', 'DTX_ADMIN_TOKEN'];

/**
 * Writes `.infra/demo/env`, for `. .infra/demo/env` in a shell; only its owner may read the passwords. The addresses of
 * the servers are the shell's alone: handed on, they would be servers that somebody gives, and `npm test` would take them.
 */
export function writeEnvFile(dir, { urls, world, token }) {
  const path = join(dir, 'env');
  const variables = {
    ORDER_URL: urls.order,
    PAYMENT_URL: urls.payment,
    INVENTORY_URL: urls.inventory,
    DTX_ORDER_URL: urls.order,
    DTX_PAYMENT_URL: urls.payment,
    DTX_INVENTORY_URL: urls.inventory,
    DTX_ADMIN_TOKEN: token,
    DTX_ORDER_DATABASE_URL: world.databases.order,
    DTX_PAYMENT_DATABASE_URL: world.databases.payment,
    DTX_INVENTORY_DATABASE_URL: world.databases.inventory,
    DTX_RABBITMQ_URL: world.rabbitmq,
    DTX_RABBITMQ_MANAGEMENT_URL: world.management,
    DTX_REDIS_URL: world.redis,
  };
  const lines = Object.entries(variables).map(
    ([name, value]) => `${EXPORTED.includes(name) ? 'export ' : ''}${name}='${String(value).replaceAll("'", "'\\''")}'`,
  );
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 });
  return path;
}
