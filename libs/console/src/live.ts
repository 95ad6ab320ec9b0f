import type { QueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import type { AppApi } from './api';

export interface Changed {
  items: Array<{ change: string; scheme: string; id: string | null; gid: string | null }>;
}

const RETRY_MS = 2_000;
/** A busy app changes four times a second. Lists are read again at most this often. */
const READ_AGAIN_MS = 3_000;

/** Reads the events of one app until `signal`. A lost stream is resumed by its last id. */
async function follow(api: AppApi, signal: AbortSignal, take: (event: string, data: unknown) => void): Promise<void> {
  let lastId = '';
  while (!signal.aborted) {
    try {
      const headers = { ...api.headers, ...(lastId && { 'last-event-id': lastId }) };
      const response = await fetch(`${api.base}/events`, { headers, signal });
      if (!response.ok || !response.body) throw new Error(String(response.status));
      take('up', null);
      let text = '';
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const blocks = (text + part.value).split('\n\n');
        text = blocks.pop() ?? '';
        for (const block of blocks) {
          const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
          lastId = field('id') ?? lastId;
          const event = field('event');
          if (event) take(event, JSON.parse(field('data') ?? 'null'));
        }
      }
    } catch {} // the app is down, or the page is left
    if (signal.aborted) return;
    take('down', null);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** Keeps the queries of all apps fresh by their events. Returns the names of the apps whose stream is up. */
export function useLive(apps: readonly AppApi[], client: QueryClient): ReadonlySet<string> {
  const [up, setUp] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const readAgain = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        void client.invalidateQueries({
          predicate: ({ queryKey }) => queryKey[0] === 'list' || queryKey[0] === 'trace',
        });
      }, READ_AGAIN_MS);
    };
    for (const api of apps)
      void follow(api, stop.signal, (event) => {
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
          readAgain();
        }
      });
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [apps, client]);
  return up;
}
