import { createContext, useContext } from 'react';
import type { AppApi } from './api';

/** The apps that the operator is signed in to. The first one serves this page. */
export const Apps = createContext<readonly AppApi[]>([]);
export const useApps = (): readonly AppApi[] => useContext(Apps);
