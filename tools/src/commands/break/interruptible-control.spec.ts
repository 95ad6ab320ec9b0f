import { describe, expect, it } from 'vitest';
import type { ControlClient } from '../demo/control-socket.js';
import { interruptible } from './interruptible-control.js';

/** A demo that notes each request and answers it when told to. */
class NotedControl {
  readonly asked: string[] = [];
  readonly answers: Array<() => void> = [];
  isSlow = false;
  ask = (action: string) => {
    this.asked.push(action);
    return new Promise((resolve) => (this.isSlow ? this.answers.push(() => resolve({})) : resolve({})));
  };
  close = () => {};
}

const setUp = () => {
  const noted = new NotedControl();
  const abort = new AbortController();
  return { noted, abort, control: interruptible(noted as unknown as ControlClient, abort.signal) };
};
const armed = { app: 'order', env: { DTX_FAILPOINTS: 'xa.decided=1*crash' }, holdMs: 2_000 } as const;

describe('an interruptible control', () => {
  it('sends no request after the signal', async () => {
    const { noted, abort, control } = setUp();
    await control.ask('restart', armed);
    abort.abort();
    await expect(control.ask('startSecond', { app: 'order' })).rejects.toThrow('interrupted');
    expect(noted.asked).toEqual(['restart']);
  });

  it('waits for the running request, and then starts the app without its failpoint and its second instance', async () => {
    const { noted, abort, control } = setUp();
    noted.isSlow = true;
    const running = control.ask('restart', armed);
    abort.abort();
    const right = control.setRight('order');
    await new Promise(setImmediate);
    expect(noted.asked).toEqual(['restart']);
    noted.isSlow = false;
    noted.answers[0]!();
    await Promise.all([running, right]);
    expect(noted.asked).toEqual(['restart', 'stopSecond', 'kill', 'restart']);
  });
});
