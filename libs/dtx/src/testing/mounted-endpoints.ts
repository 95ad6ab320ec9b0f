import type { INestApplicationContext } from '@nestjs/common';
import type { Inbox } from '../core/consumer/handle-by-inbox.js';
import type { Endpoint } from '../core/consumer/incoming-message.js';
import { MessageHandlers } from '../core/consumer/mount-handlers.js';
import type { Database } from '../core/database/database.service.js';

/** One consumer of an application, with the inbox and the database of its `DtxModule`. */
export interface MountedEndpoint {
  readonly endpoint: Endpoint;
  readonly inbox: Inbox;
  readonly database: Database;
}

/** The consumers of all `DtxModule`s of an application. This file alone knows which service keeps them. */
export function mountedEndpoints(app: INestApplicationContext): readonly MountedEndpoint[] {
  const all = app.get(MessageHandlers, { strict: false, each: true });
  return all.flatMap(({ endpoints, inbox, database }) => endpoints.map((endpoint) => ({ endpoint, inbox, database })));
}
