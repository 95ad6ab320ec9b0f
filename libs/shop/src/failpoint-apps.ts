import type { Failpoint } from 'nest-dtx';

type Played = Partial<Record<Failpoint['role'], 'order' | 'payment' | 'inventory'>>;

/** Which app plays which part of a scheme when something is bought, so that it meets the failpoints of that part. */
const APPS: Readonly<Record<string, Played>> = {
  'local-message': { sender: 'order', receiver: 'inventory' },
  'half-message': { sender: 'inventory', receiver: 'payment' },
  'reliable-message': { sender: 'inventory', receiver: 'order' },
  tcc: { initiator: 'payment', participant: 'inventory' },
  xa: { initiator: 'order' },
  notify: { service: 'payment' },
};

/** The app that meets a failpoint. @throws Error for a part that no app plays */
export function appOf({ name, scheme, role }: Pick<Failpoint, 'name' | 'scheme' | 'role'>): string {
  const app = APPS[scheme]?.[role];
  if (!app) throw new Error(`no app plays the ${role} of ${scheme}, which meets failpoint ${name}`);
  return app;
}
