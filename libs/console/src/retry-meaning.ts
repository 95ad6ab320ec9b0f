const MEANING = {
  'local-message': 'retryOfLocalMessage',
  'half-message': 'retryOfHalfMessage',
  tcc: 'retryOfTcc',
  xa: 'retryOfXa',
  notify: 'retryOfNotify',
  saga: 'retryOfSaga',
} as const;

/** The word for what a retry of a row of this scheme does. A scheme of the app's own has the general sentence. */
export const retryMeaning = (scheme: string): (typeof MEANING)[keyof typeof MEANING] | 'retryMeans' =>
  scheme in MEANING ? MEANING[scheme as keyof typeof MEANING] : 'retryMeans';
