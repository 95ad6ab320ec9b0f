/** Databases of one spec file, a message of a new gid for each of its tests, and the service that the test starts. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeAll, beforeEach } from 'vitest';
import { LittleService, type libraryOf, type ServiceOptions } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { alertsOf, inboxStateOf, messageStateOf } from './outbox-inbox-alerts.js';

export function useMessageInService(name: string, library: ReturnType<typeof libraryOf>) {
  let sandbox: Sandbox;
  let service: LittleService;
  let gid = '';
  beforeAll(async () => {
    sandbox = await freshSandbox(name, { audited: false });
  });
  beforeEach(() => {
    gid = `message-${randomUUID()}`;
  });
  afterEach(() => service?.close());
  return {
    get sandbox() {
      return sandbox;
    },
    get service() {
      return service;
    },
    get gid() {
      return gid;
    },
    start: async (options: Partial<ServiceOptions>) => {
      service = await LittleService.start({ sandbox, library, ...options });
    },
    outboxState: () => messageStateOf(sandbox, gid),
    inboxState: (of = gid) => inboxStateOf(sandbox, of),
    alerts: () => alertsOf(sandbox, gid),
  };
}

/** Waits longer than `until` does by default, for rounds of retries. */
export const untilOver: typeof until = (what, is) => until(what, is, { withinMs: 60_000 });
