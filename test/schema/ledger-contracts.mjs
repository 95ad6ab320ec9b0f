// The contracts of a service, as its build has them. `nest-dtx queues` loads this file.
import { defineMessage, defineParticipant } from 'nest-dtx';
import { z } from 'zod';

const schema = z.object({ gid: z.string() });
const gid = (message) => message.gid;

export const entryBooked = defineMessage({
  name: 'entry.booked',
  version: 1,
  schema,
  consumers: ['payment.book'],
  gid,
});

export const contracts = {
  closed: defineMessage({
    name: 'ledger.closed',
    version: 1,
    schema,
    consumers: ['report.print'],
    gid,
    replicated: true,
  }),
};

export const funds = defineParticipant({ name: 'payment.funds', version: 1, args: schema });
