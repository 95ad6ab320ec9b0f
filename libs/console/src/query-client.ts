import { QueryClient } from '@tanstack/react-query';

/** What is known stays on the page while an app is down. */
export const newClient = (): QueryClient =>
  new QueryClient({
    defaultOptions: { queries: { retry: false, staleTime: 1_000, refetchOnWindowFocus: true, networkMode: 'always' } },
  });
