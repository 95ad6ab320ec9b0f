import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Console } from './console';
import './styles.css';

const client = new QueryClient({
  // What is known stays on the page while an app is down.
  defaultOptions: { queries: { retry: false, staleTime: 1_000, refetchOnWindowFocus: true, networkMode: 'always' } },
});
const root = document.getElementById('root');
if (root)
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <Console client={client} />
      </QueryClientProvider>
    </StrictMode>,
  );
