import { describe, expect, it } from 'vitest';
import { shownOptions } from './shown-options.js';

describe('shownOptions', () => {
  it('shows plain values as they are', () => {
    const given = { app: 'order', leaseMs: 5_000, inbox: { attemptsMax: 8 }, queues: 'quorum', registry: undefined };
    expect(shownOptions(given)).toEqual(given);
  });

  it.each([
    ['amqp://user:pass@mq:5672/vhost', 'amqp://mq:5672'],
    ['amqp://u:p@mq1:5672/v,amqp://u:p@mq2:5672/v', 'amqp://mq1:5672, amqp://mq2:5672'],
    ['https://hooks.example/services/T0/SECRET?key=1', 'https://hooks.example'],
    ['mysql://u:p@ss word@db/x', 'mysql://db'],
    ['amqp://u:12,3@mq:5672/v', 'amqp://mq:5672'],
    ['http://[broken', '(hidden)'],
    ['x://', '(hidden)'],
  ])('shows only the host of the URL %s', (url, shown) => {
    expect(shownOptions({ url })).toEqual({ url: shown });
    expect(shownOptions({ urls: [url] })).toEqual({ urls: [shown] });
  });

  it.each(['adminToken', 'secrets', 'notifySecret', 'dbPassword', 'privateKey', 'apiKey'])('hides %s', (name) => {
    for (const value of ['x', ['x'], { x: 1 }]) expect(shownOptions({ [name]: value })).toEqual({ [name]: '(hidden)' });
  });

  it('shows the class of an object in place of its content', () => {
    class Pool {
      readonly password = 'x';
    }
    expect(shownOptions({ pool: new Pool(), hook: () => 1, migrations: [{ up: ['SELECT 1'] }] })).toEqual({
      pool: '(Pool)',
      hook: '(function)',
      migrations: '(1 entries)',
    });
  });
});
