import type { Failpoint } from 'nest-dtx';

type AppByRole = Partial<Record<Failpoint['role'], 'order' | 'payment' | 'inventory'>>;

/** The app of each role of a scheme in the demo. The app of a role reaches the failpoints of that role. */
const APPS: Readonly<Record<string, AppByRole>> = {
  'local-message': { sender: 'order', receiver: 'inventory' },
  'half-message': { sender: 'inventory', receiver: 'payment' },
  'reliable-message': { sender: 'inventory', receiver: 'order' },
  saga: { initiator: 'order', participant: 'inventory' },
  tcc: { initiator: 'payment', participant: 'inventory' },
  xa: { initiator: 'order' },
  notify: { service: 'payment' },
};

/** The app that reaches a failpoint. @throws Error for a role without an app */
export function appOf({ name, scheme, role }: Pick<Failpoint, 'name' | 'scheme' | 'role'>): string {
  const app = APPS[scheme]?.[role];
  if (!app) throw new Error(`no app for failpoint ${name}: scheme ${scheme} has no app in the role ${role}`);
  return app;
}
