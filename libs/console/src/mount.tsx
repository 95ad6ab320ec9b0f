import { type QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { type ComponentType, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { newClient } from './query-client';

/** Shows a whole page in the `root` of its HTML file. */
export function mount(Page: ComponentType<{ client: QueryClient }>): void {
  const client = newClient();
  const root = document.getElementById('root');
  if (root)
    createRoot(root).render(
      <StrictMode>
        <QueryClientProvider client={client}>
          <Page client={client} />
        </QueryClientProvider>
      </StrictMode>,
    );
}
