import type { Word } from './i18n';

const MEANING: Record<string, Word> = {
  'local-message': 'retryOfLocalMessage',
  'half-message': 'retryOfHalfMessage',
  tcc: 'retryOfTcc',
  xa: 'retryOfXa',
  notify: 'retryOfNotify',
  saga: 'retryOfSaga',
};

/** What a retry of a row of this scheme does. A scheme of the app's own has the general sentence. */
export const retryMeaning = (scheme: string): Word => MEANING[scheme] ?? 'retryMeans';
