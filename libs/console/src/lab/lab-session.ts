import { type UseQueryResult, useQuery, useQueryClient } from '@tanstack/react-query';
import { createContext, useContext, useState } from 'react';
import { AppApi } from '../api';
import { useWords } from '../i18n';
import { problemText } from '../problem-text';
import type { LabSchemes, LabStatus } from './lab-types';

const STATUS_MS = 700;
const APPS = ['order', 'payment', 'inventory'];

/** Calls of the lab and, through it, of the apps. */
export interface LabSession {
  readonly api: AppApi;
  readonly apps: readonly AppApi[];
}

/** @throws CallFailed if the token is wrong */
export async function signInToLab(token: string): Promise<LabSession> {
  const api = new AppApi('lab', `${location.origin}/api`, token);
  await api.get<LabStatus>('/status');
  return { api, apps: APPS.map((name) => new AppApi(name, `${location.origin}/apps/${name}/dtx`, token)) };
}

export const Session = createContext<LabSession | null>(null);

function useLabApi(): AppApi {
  const session = useContext(Session);
  if (!session) throw new Error('no page of the lab is shown before the sign-in');
  return session.api;
}

/** One small call a moment, since a browser opens only six connections to one host, and each stream would hold one. */
export function useStatus(): UseQueryResult<LabStatus> {
  const api = useLabApi();
  return useQuery({
    queryKey: ['status'],
    queryFn: () => api.get<LabStatus>('/status'),
    refetchInterval: STATUS_MS,
    staleTime: 0,
  });
}

export function useSchemes(): LabSchemes {
  const api = useLabApi();
  const { data } = useQuery({
    queryKey: ['schemes'],
    queryFn: () => api.get<LabSchemes>('/schemes'),
    staleTime: Number.POSITIVE_INFINITY,
  });
  return data ?? { schemes: [], purchases: [] };
}

/** Starts work of the lab. The status then shows it. */
export function useStart(): { start: (path: string, body?: object) => void; problem: string } {
  const api = useLabApi();
  const client = useQueryClient();
  const words = useWords();
  const [problem, setProblem] = useState('');
  const start = (path: string, body: object = {}) => {
    setProblem('');
    api
      .post(path, body)
      .catch((error: unknown) => setProblem(problemText(error, words)))
      .finally(() => void client.invalidateQueries({ queryKey: ['status'] }));
  };
  return { start, problem };
}
