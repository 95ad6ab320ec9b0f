import { useEffect, useState } from 'react';

/** A hash that cannot be decoded is the first page. */
function routeNow(): string[] {
  try {
    return location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  } catch {
    return [''];
  }
}

/** The place after `#/`. Ids of transactions may be there, the token never is. */
export function useRoute(): string[] {
  const [route, setRoute] = useState(routeNow);
  useEffect(() => {
    const change = () => setRoute(routeNow());
    addEventListener('hashchange', change);
    return () => removeEventListener('hashchange', change);
  }, []);
  return route;
}
