import { GUARDED } from './guard-edit.js';
import type { Mutant } from './mutant.js';

export const noEventId: Mutant = {
  name: 'no-event-id',
  does: 'every message is recorded under a new id instead of the event’s',
  breaks: 'a duplicate message is one more notification',
  foundBy: 'calls of one event',
  edits: [{ guard: 'notify.event-id', becomes: 'id: crypto.randomUUID()' }],
};

export const redirectsFollowed: Mutant = {
  name: 'redirects-followed',
  does: 'a redirect is followed',
  breaks: 'a target sends the service to any address',
  foundBy: 'calls at the place of the redirect',
  edits: [
    {
      guard: 'notify.response',
      becomes: `if (response.headers.location) {
          clearTimeout(timer);
          response.resume();
          resolve(this.postOnce(new URL(response.headers.location, url), { headers, body, endsAt }));
          return;
        }
        ${GUARDED}`,
    },
  ],
};

export const checkedBeforehand: Mutant = {
  name: 'checked-beforehand',
  does: 'the address is looked up and checked before connecting, and looked up again by the connection',
  breaks: 'a name server that answers differently the second time opens the private network',
  foundBy: 'calls of a private target',
  edits: [
    { guard: 'notify.look-up', becomes: '' },
    {
      guard: 'notify.target',
      becomes: `${GUARDED}
        await new Promise((good, bad) => {
          this.guard.lookupFor(url)(url.hostname, { all: true }, (error) => (error ? bad(error) : good()));
        });`,
    },
  ],
};

export const ackBeforePublish: Mutant = {
  name: 'ack-before-publish',
  does: 'the delivery is acked before the result is published',
  breaks: 'a crash in between loses the result, because no process publishes it any more',
  foundBy: 'the target hears of the payment',
  edits: [{ guard: 'inbox.before-ack', becomes: `delivery.ack(); ${GUARDED}` }],
};

export const noKeyShares: Mutant = {
  name: 'no-key-shares',
  does: 'calls are bounded in all, and not for each target',
  breaks: 'a target that hangs holds up all others',
  foundBy: 'one target is told while another hangs',
  edits: [{ guard: 'notify.per-key', becomes: '' }],
};
