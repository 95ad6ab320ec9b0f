// The environment of the demo's apps.
import type { Sandbox } from '../sandbox/sandbox.js';
import type { App } from '../servers/server-set.js';

/** What the apps of one run share. */
export interface AppSettings {
  readonly sandbox: Pick<Sandbox, 'name' | 'databases' | 'rabbitmq' | 'redis'>;
  readonly token: string;
  readonly notifySecret: string;
  readonly urls: Record<App, string>;
}

/** The variables of an app, see the README's table. */
export function environmentOf(app: App, { sandbox, token, urls, notifySecret }: AppSettings): NodeJS.ProcessEnv {
  const common = {
    DTX_DATABASE_URL: sandbox.databases[app],
    DTX_RABBITMQ_URL: sandbox.rabbitmq,
    DTX_ADMIN_TOKEN: token,
    DTX_NOTIFY_SECRET: notifySecret,
    DTX_CONSOLE_APPS: consoleApps(urls),
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
    DTX_REDIS_URL: sandbox.redis,
    DTX_XA_PAYMENT_DATABASE_URL: sandbox.databases.payment,
    DTX_XA_INVENTORY_DATABASE_URL: sandbox.databases.inventory,
    DTX_OPTIONS: withDeployment(process.env.DTX_OPTIONS, sandbox.name),
  };
}

/** The console of each app shows all of them. */
export function consoleApps(urls: Record<App, string>): string {
  return Object.entries(urls)
    .map(([name, url]) => `${name}=${url}/dtx`)
    .join(',');
}

/**
 * Binds the decision log of XA to the name of the sandbox, because folder and host name may change. The app rejects options
 * that are not JSON.
 */
function withDeployment(given: string | undefined, name: string): string | undefined {
  try {
    const options = JSON.parse(given || '{}');
    return JSON.stringify({ ...options, xa: { deployment: name, ...options.xa } });
  } catch {
    return given;
  }
}
