/** Which methods a path answers to: to tell a wrong method (405) from a wrong path (404). */
export class RouteTable {
  private readonly routes: { methods: string[]; path: RegExp }[] = [];

  /** @param pattern a path with `:name` parameters, as routes are declared */
  add(methods: string | string[], pattern: string): void {
    // A wildcard would match everything below it and make every unknown path there a 405.
    if (pattern.includes('*')) return;
    const path = new RegExp(
      `^${pattern
        .split('/')
        .map((part) => (part.startsWith(':') ? '[^/]+' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')))
        .join('/')}$`,
    );
    this.routes.push({ methods: [methods].flat(), path });
  }

  /** The methods of a path, sorted; none when no route has this path. */
  methodsOf(path: string): string[] {
    const methods = this.routes.filter((route) => route.path.test(path)).flatMap((route) => route.methods);
    return [...new Set(methods)].sort();
  }
}
