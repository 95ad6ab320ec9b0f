import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Actions, callControl, listen, socketPathOf } from './control-socket.js';

describe('the control of a demo', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'control-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const actions = {
    kill: async () => {},
    restart: () => new Promise(() => {}),
    stopSecond: async () => {
      throw new Error('refused');
    },
  } as unknown as Actions;

  it('answers each request, and passes on a failure', async () => {
    const server = await listen(socketPathOf(folder), actions);
    const control = await callControl(socketPathOf(folder), () => {});
    expect(await control.ask('kill', { app: 'order' })).toEqual({});
    await expect(control.ask('stopSecond', { app: 'order' })).rejects.toThrow('refused');
    control.close();
    server.close();
  });

  it('ends a running and a later request if the demo ends', async () => {
    const server = await listen(socketPathOf(folder), actions);
    const control = await callControl(socketPathOf(folder), () => {});
    const running = control.ask('restart', { app: 'order', env: {}, holdMs: 0 });
    await control.ask('kill', { app: 'order' });
    server.close();
    await expect(running).rejects.toThrow('the demo has ended meanwhile');
    await expect(control.ask('kill', { app: 'order' })).rejects.toThrow('the demo has ended meanwhile');
  });

  it('names the remedy if no demo answers', async () => {
    await expect(callControl(socketPathOf(folder), () => {})).rejects.toThrow(/ENOENT.*npm run demo/);
  });
});
