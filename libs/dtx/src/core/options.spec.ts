import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { localMessageOptions } from '../local-message/options.js';
import { OptionsError } from './errors/errors.js';
import { coreOptions, parseOptions } from './options.js';

const least = { app: 'order', rabbitmqUrl: 'amqp://user:s3cr3t@127.0.0.1/shop' };
const core = (more: Record<string, unknown> = {}) => parseOptions('core', coreOptions, { ...least, ...more });

describe('options', () => {
  it('have defaults for all but app and rabbitmqUrl', () => {
    expect(core()).toMatchObject({ app: 'order', leaseMs: 5_000, inbox: { attemptsMax: 8 }, migrations: [] });
    expect(parseOptions('localMessage', localMessageOptions, {})).toMatchObject({ attemptsMax: 12, backlogMax: 1_000 });
    expect(() => parseOptions('core', coreOptions, {})).toThrow(/core\.app.*core\.rabbitmqUrl/);
  });

  it('can be set one by one, also within a group', () => {
    const { inbox } = core({ inbox: { attemptsMax: 2, backoff: { capMs: 50 } } });
    expect(inbox).toMatchObject({ attemptsMax: 2, backoff: { firstMs: 1_000, factor: 3, capMs: 50 } });
    expect(inbox.retentionMs).toBe(core().inbox.retentionMs);
  });

  it('start the first retry after a kill -9 within 10 s by default', () => {
    const { leaseMs, scanIntervalMs } = core();
    expect(leaseMs + 1.2 * scanIntervalMs).toBeLessThan(10_000);
  });

  it.each<[string, Record<string, unknown>]>([
    ['core.alertWebhook', { alertWebhook: 'https://user:s3cr3t@127.0.0.1/alerts' }],
    ['core.app', { app: 'Order' }],
    ['core.app', { app: 'x'.repeat(33) }],
    ['core.rabbitmqUrl', { rabbitmqUrl: 'http://user:s3cr3t@127.0.0.1' }],
    ['core.rabbitmqUrl', { rabbitmqUrl: 's3cr3t' }],
    ['core.rabbitmqUrl', { rabbitmqUrl: [] }],
    ['core.rabbitmqUrl', { rabbitmqUrl: ['amqp://u:s3cr3t@h/v', 'amqp://u:s3cr3t@h2/w'] }],
    ['core.alertWebhook', { alertWebhook: 'ftp://user:s3cr3t@host' }],
    ['core.leaseMs', { leaseMs: '5000' }],
    ['core.leaseMs', { leaseMs: 0 }],
    ['core.leaseMs', { leaseMs: -1 }],
    ['core.leaseMs', { leaseMs: 1.5 }],
    ['core.leaseMs', { leaseMs: Number.NaN }],
    ['core.leaseMs', { leaseMs: null }],
    ['core.leaseMs', { leaseMs: 2 ** 31 }],
    ['core.prefetch', { prefetch: 0 }],
    ['core.inbox.attemptsMax', { inbox: { attemptsMax: 'many' } }],
    ['core.inbox.backoff.factor', { inbox: { backoff: { factor: 0.5 } } }],
    ['core.inbox.retentionMs', { inbox: { retentionMs: 10 } }],
    ['core.idempotencyRetentionMs', { idempotencyRetentionMs: 3_600_000 }],
    ['core.migrations.0.version', { migrations: [{ version: 0, name: 'x', up: [] }] }],
    ['core.migrations.0.compatibleFrom', { migrations: [{ version: 2, name: 'x', up: [], compatibleFrom: 3 }] }],
    ['core.migrations.0.compatibleFrom', { migrations: [{ version: 2, name: 'x', up: [], compatibleFrom: 0 }] }],
    ['core.migrations.0.compatibleFrom', { migrations: [{ version: 2, name: 'x', up: [], compatibleFrom: 1.5 }] }],
    ['core.migrations.0.compatibleFrom', { migrations: [{ version: 2, name: 'x', up: [], compatibleFrom: '1' }] }],
    ['leaseMS', { leaseMS: 5_000 }],
    ['attempts', { inbox: { attempts: 2 } }],
  ])('are rejected with one line that names %s: %j', (name, given) => {
    const refuse = () => core(given);
    expect(refuse).toThrow(OptionsError);
    expect(refuse).toThrow(/^core[^\n]+$/);
    expect(refuse).toThrow(name);
    expect(refuse).not.toThrow(/s3cr3t/);
  });

  it('are rejected with every wrong option at once', () => {
    expect(() => core({ leaseMs: 'x', prefetch: 'y' })).toThrow(/core\.leaseMs: [^\n]+; core\.prefetch: /);
  });

  it('of any form are accepted or rejected with an OptionsError', () => {
    fc.assert(
      fc.property(fc.anything(), (given) => {
        for (const schema of [coreOptions, localMessageOptions]) {
          try {
            parseOptions('x', schema, given);
          } catch (error) {
            expect(error).toBeInstanceOf(OptionsError);
          }
        }
      }),
    );
  });
});
