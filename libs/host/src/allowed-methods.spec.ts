import { describe, expect, it } from 'vitest';
import { RouteTable } from './allowed-methods.js';

describe('RouteTable', () => {
  const routes = new RouteTable();
  routes.add(['GET', 'HEAD'], '/orders');
  routes.add('POST', '/orders');
  routes.add('GET', '/orders/:orderId');
  routes.add('GET', '/docs/*');

  it('returns the methods of a path', () => {
    expect(routes.methodsOf('/orders')).toEqual(['GET', 'HEAD', 'POST']);
    expect(routes.methodsOf('/orders/1')).toEqual(['GET']);
  });

  it.each(['/', '/orders/', '/orders/1/2', '/ordersx', '/docs/x', '/Orders'])('returns no methods for %s', (path) => {
    expect(routes.methodsOf(path)).toEqual([]);
  });
});
