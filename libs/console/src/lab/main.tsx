import { QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { newClient } from '../query-client';
import '../styles.css';
import './lab.css';
import { Lab } from './lab';

const client = newClient();
const root = document.getElementById('root');
if (root)
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <Lab client={client} />
      </QueryClientProvider>
    </StrictMode>,
  );
