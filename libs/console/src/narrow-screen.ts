import { useSyncExternalStore } from 'react';

/** As in the styles. */
const narrowScreen = matchMedia('(max-width: 640px)');

function subscribe(changed: () => void): () => void {
  narrowScreen.addEventListener('change', changed);
  return () => narrowScreen.removeEventListener('change', changed);
}

/** Whether drawings must fit a phone. */
export function useNarrowScreen(): boolean {
  return useSyncExternalStore(subscribe, () => narrowScreen.matches);
}
