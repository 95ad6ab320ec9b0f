import type { Mutant } from './mutant.js';

const CALL = 'notify/webhook-client.js';

export const noEventId: Mutant = {
  name: 'no-event-id',
  does: 'every message is recorded under an id of its own instead of the event’s',
  breaks: 'a duplicate message is one more notification',
  foundBy: 'calls of one event',
  edits: [
    {
      file: 'notify/notification-consumer.js',
      find: 'const { id, gid: ownGid, type, target, payload } = parsed.data;',
      replace: 'const { gid: ownGid, type, target, payload } = parsed.data; const id = randomUUID();',
    },
  ],
};

export const redirectsFollowed: Mutant = {
  name: 'redirects-followed',
  does: 'a redirect is followed',
  breaks: 'a target sends the service wherever it likes',
  foundBy: 'calls at the place of the redirect',
  edits: [
    {
      file: CALL,
      find: `request.once('response', (response) => {`,
      replace: `request.once('response', (response) => {
        if (response.headers.location) {
          clearTimeout(timer);
          response.resume();
          resolve(this.postOnce(new URL(response.headers.location, url), { headers, body, endsAt }));
          return;
        }`,
    },
  ],
};

export const checkedBeforehand: Mutant = {
  name: 'checked-beforehand',
  does: 'the address is looked up and checked before connecting, and looked up once more by the connection',
  breaks: 'a name server that answers differently the second time opens the private network',
  foundBy: 'calls of a private target',
  edits: [
    { file: CALL, find: 'lookup: this.guard.lookupFor(url),', replace: '' },
    {
      file: CALL,
      find: 'const url = this.guard.check(target);',
      replace: `const url = this.guard.check(target);
        await new Promise((good, bad) => {
          this.guard.lookupFor(url)(url.hostname, { all: true }, (error) => (error ? bad(error) : good()));
        });`,
    },
  ],
};

export const ackBeforePublish: Mutant = {
  name: 'ack-before-publish',
  does: 'the delivery is acked before the result is published',
  breaks: 'a crash in between loses the result: nobody publishes it any more',
  foundBy: 'the target hears of the payment',
  edits: [
    {
      file: 'core/consumer/inbox.js',
      find: 'const outcome = await retryWhileUnavailable(patience, () => this.beforeAck(incoming, endpoint, settled));',
      replace: `delivery.ack();
        const outcome = await retryWhileUnavailable(patience, () => this.beforeAck(incoming, endpoint, settled));`,
    },
  ],
};

export const noLanes: Mutant = {
  name: 'no-lanes',
  does: 'calls are bounded in all, and not for each target',
  breaks: 'a target that hangs holds up all others',
  foundBy: 'one target is told while another hangs',
  edits: [{ file: 'notify/delivery.js', find: 'laneMax: options.targetConcurrencyMax,', replace: '' }],
};
