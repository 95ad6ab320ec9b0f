import { expect, test } from 'vitest';
import { notifyOptions } from './options.js';
import { Notifications } from './publish-notification.js';

const SECRETS = [`whsec_${Buffer.alloc(24).toString('base64')}`];
const TARGET = 'https://merchant.example/results';

/** Whether an app takes a notification. Neither the broker nor a queue is used for the answer. */
function isFor(app: string, options: object, target: string | undefined): boolean {
  const parsed = notifyOptions.parse({ service: 'payment', secrets: SECRETS, ...options });
  return new Notifications(undefined as never, undefined as never, { app } as never, parsed).isFor(target);
}

test.each([
  ['the service without a default target refuses one without a target', 'payment', {}, undefined, false],
  ['the service with a default target takes it', 'payment', { defaultTarget: TARGET }, undefined, true],
  ['another app takes it, since the service may have a default target', 'order', {}, undefined, true],
  ['another app refuses it if the service has none', 'order', { serviceHasDefaultTarget: false }, undefined, false],
  [
    'another app takes it if it has a default target itself',
    'order',
    { serviceHasDefaultTarget: false, defaultTarget: TARGET },
    undefined,
    true,
  ],
  ['a target is enough', 'order', { serviceHasDefaultTarget: false }, TARGET, true],
  ['the service without a secret takes none', 'payment', { secrets: [] }, TARGET, false],
  ['another app needs no secret, since the service signs', 'order', { secrets: [] }, TARGET, true],
])('%s', (_, app, options, target, expected) => {
  expect(isFor(app, options, target)).toBe(expected);
});
