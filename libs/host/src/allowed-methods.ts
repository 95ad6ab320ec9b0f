/** The methods of each path. It distinguishes a wrong method (405) from an unknown path (404). */
export class RouteTable {
  private readonly routes: { methods: string[]; path: RegExp }[] = [];

  /** @param pattern a path with `:name` parameters */
  add(methods: string | string[], pattern: string): void {
    // A wildcard would make every unknown path below it a 405.
    if (pattern.includes('*')) return;
    const path = new RegExp(
      `^${pattern
        .split('/')
        .map((part) => (part.startsWith(':') ? '[^/]+' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')))
        .join('/')}$`,
    );
    this.routes.push({ methods: [methods].flat(), path });
  }

  /** The sorted methods of a path, or none if the path is unknown. */
  methodsOf(path: string): string[] {
    const methods = this.routes.filter((route) => route.path.test(path)).flatMap((route) => route.methods);
    return [...new Set(methods)].sort();
  }
}
