import { useQuery } from '@tanstack/react-query';
import { useEffect } from 'react';
import { type AppApi, CallFailed } from '../api';
import { useApps } from '../session';
import { SINGLE, type SingleRow, type Trace } from '../types';

interface Found {
  readonly api: AppApi;
  readonly row: SingleRow;
}

/** Asks each app for a row with this id. An app that does not know it answers 404. */
async function rowOf(apps: readonly AppApi[], id: string): Promise<Found | null> {
  const answers = await Promise.all(
    apps.map(async (api) => {
      try {
        return { api, row: await api.get<SingleRow>(`/transactions/${encodeURIComponent(id)}`) };
      } catch (error) {
        // An app that is down, or refuses the id, has its problem on the page already.
        if (error instanceof CallFailed) return null;
        throw error;
      }
    }),
  );
  return answers.find((one) => one !== null) ?? null;
}

/**
 * An id that no app has as a gid may be that of a row, such as the subject of an alert. A row of a global transaction leads
 * to that. Another one, such as a message without a gid, is shown alone, as a trace of one row.
 */
export function useRowById(
  id: string,
  { isNeeded, everyMs }: { isNeeded: boolean; everyMs: number },
): { readonly api: AppApi; readonly trace: Trace } | null {
  const apps = useApps();
  const { data } = useQuery({
    queryKey: ['row', id],
    queryFn: () => rowOf(apps, id),
    enabled: isNeeded,
    refetchInterval: everyMs,
  });
  const gid = isNeeded ? data?.row.gid : null;
  useEffect(() => {
    if (gid && gid !== id) location.replace(`#/transaction/${encodeURIComponent(gid)}`);
  }, [gid, id]);
  if (!isNeeded || !data) return null;
  const { api, row } = data;
  const rows = [{ ...row, source: SINGLE, message: null }];
  return { api, trace: { app: api.name, gid: id, at: row.createdAt, rows, alerts: [], isComplete: true } };
}
