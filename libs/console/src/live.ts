import type { QueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import type { AppApi } from './api';

/** The event `changes`. Further changes than the named ones are counted. */
interface Changed {
  items: Array<{ gid: string | null }>;
  omitted: number;
}

const RETRY_MS = 2_000;
/** An app sends at least a ping every 15 s. A stream that is silent for longer is lost, and nothing told the browser so. */
const SILENCE_MS = 40_000;
/** A busy app changes four times a second. Lists are read again at most this often. */
const READ_AGAIN_MS = 5_000;

/** Reads the events of one app until `signal`, or until it refuses the token. A lost stream is resumed by its last id. */
async function follow(api: AppApi, signal: AbortSignal, take: (event: string, data: unknown) => void): Promise<void> {
  let lastId = '';
  while (!signal.aborted && !api.refused.aborted) {
    const silent = new AbortController();
    let silence = setTimeout(() => silent.abort(), SILENCE_MS);
    try {
      const headers: Record<string, string> = lastId ? { 'last-event-id': lastId } : {};
      const response = await api.stream('/events', { headers, signal: AbortSignal.any([signal, silent.signal]) });
      if (!response.ok || !response.body) throw new Error(String(response.status));
      take('up', null);
      let text = '';
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        clearTimeout(silence);
        silence = setTimeout(() => silent.abort(), SILENCE_MS);
        const blocks = (text + part.value).split('\n\n');
        text = blocks.pop() ?? '';
        for (const block of blocks) {
          const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
          lastId = field('id') ?? lastId;
          const event = field('event');
          if (event) take(event, JSON.parse(field('data') ?? 'null'));
        }
      }
    } catch {} // the app is down or silent, or the page is left
    clearTimeout(silence);
    if (signal.aborted) return;
    take('down', null);
    if (api.refused.aborted) return;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** Keeps the queries of all apps fresh by their events. Returns the names of the apps whose stream is up. */
export function useLive(apps: readonly AppApi[], client: QueryClient): ReadonlySet<string> {
  const [up, setUp] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const changed = new Set<string>();
    let areAllNamed = true;
    const readAgain = (event: string, data: unknown) => {
      const { items = [], omitted = 0 } = event === 'changes' ? (data as Changed) : {};
      for (const { gid } of items) if (gid !== null) changed.add(gid);
      areAllNamed &&= omitted === 0;
      timer ??= setTimeout(() => {
        timer = undefined;
        const isChanged = (gid: unknown) => !areAllNamed || changed.has(String(gid));
        void client.invalidateQueries({
          // A hidden tab reads them when it is shown.
          refetchType: document.hidden ? 'none' : 'active',
          predicate: ({ queryKey: [kind, , gid] }) => kind === 'list' || (kind === 'trace' && isChanged(gid)),
        });
        changed.clear();
        areAllNamed = true;
      }, READ_AGAIN_MS);
    };
    for (const api of apps)
      void follow(api, stop.signal, (event, data) => {
        if (event === 'up' || event === 'down')
          setUp((before) => {
            const now = new Set(before);
            if (event === 'up') now.add(api.name);
            else now.delete(api.name);
            return now;
          });
        else if (event === 'reset' || event === 'hello') void client.invalidateQueries();
        else {
          if (event === 'alerts') void client.invalidateQueries({ queryKey: ['alerts'] });
          readAgain(event, data);
        }
      });
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [apps, client]);
  return up;
}
