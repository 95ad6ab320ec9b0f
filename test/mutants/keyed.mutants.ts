import type { Mutant } from './mutant.js';

const IN_ORDER = 'handled in the order of the commits';
const UNTIL_DONE = 'every message is handled';

export const sentBehindHead: Mutant = {
  name: 'sent-behind-head',
  does: 'a message is sent without a look for the head of its key',
  breaks: 'a message overtakes one whose handler failed',
  foundBy: IN_ORDER,
  edits: [{ guard: 'order.head', becomes: '' }],
};

export const placeWithoutLock: Mutant = {
  name: 'place-without-lock',
  does: 'the place of a message is the time of its append, and nothing locks the key until the commit',
  breaks: 'a message that was appended first and committed second passes one that is in flight',
  foundBy: IN_ORDER,
  edits: [
    { guard: 'order.place', becomes: '' },
    {
      guard: 'order.message',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of the built file.
      swap: ['(SELECT seq FROM ${places} WHERE stream_key = ?)', '(? IS NULL) + ${Date.now()}'],
    },
  ],
};

export const parkedIsPassed: Mutant = {
  name: 'parked-is-passed',
  does: 'the receipt PARKED ends a message although its key is to wait',
  breaks: 'the successors are handled before the operator retries the parked message',
  foundBy: IN_ORDER,
  edits: [{ guard: 'order.parked', becomes: `await this.handled(ids, { consumer, onParked: ['wait'], note });` }],
};

export const usedKeyPurged: Mutant = {
  name: 'used-key-purged',
  does: 'the purge removes a key that has open messages',
  breaks: 'its places begin anew, and a new message passes older ones',
  foundBy: IN_ORDER,
  edits: [{ guard: 'order.used-key', swap: ['AND NOT EXISTS', 'OR NOT EXISTS'] }],
};

export const noSecondLook: Mutant = {
  name: 'no-second-look',
  does: 'a message that is made to wait does not look for the head again',
  breaks: 'its predecessor may have ended in between, and the key stands still until the next search',
  foundBy: UNTIL_DONE,
  edits: [{ guard: 'order.look-again', becomes: '' }],
};

export const noRelease: Mutant = {
  name: 'no-release',
  does: 'the receipt of a message does not let its successor go',
  breaks: 'each message of a key waits for the next search',
  foundBy: UNTIL_DONE,
  edits: [{ guard: 'order.released', becomes: '' }],
};

export const noSearch: Mutant = {
  name: 'no-search',
  does: 'no instance searches for stranded keys',
  breaks: 'a process that dies between the end of a message and its look stops the key for ever',
  foundBy: UNTIL_DONE,
  edits: [{ guard: 'order.search', becomes: '' }],
};

export const noReleaseNoSearch: Mutant = {
  name: 'no-release-no-search',
  does: 'neither a receipt nor a search lets the successor of a message go',
  breaks: 'each key stops behind its first message',
  foundBy: UNTIL_DONE,
  edits: [...noRelease.edits, ...noSearch.edits],
};

export const noLookNoSearch: Mutant = {
  name: 'no-look-no-search',
  does: 'a message that is made to wait looks for no head again, and no instance searches for stranded keys',
  breaks: 'a message whose predecessor ends meanwhile waits for ever',
  foundBy: UNTIL_DONE,
  edits: [...noSecondLook.edits, ...noSearch.edits],
};

export const redisAllowed: Mutant = {
  name: 'order-with-redis',
  does: 'a consumer with duplicates in Redis is mounted for a contract with inOrderOf',
  breaks: 'a late duplicate is handled again, after its successor',
  foundBy: 'instead of rejecting',
  edits: [{ guard: 'keyed.redis', becomes: '' }],
};
