const schemes = new Set<string>();

/** Registers the name of a loaded scheme, as in messages, rows and metrics. Returns the name. */
export function defineScheme<Name extends string>(name: Name): Name {
  schemes.add(name);
  return name;
}

/** The names of the schemes that this process has loaded. */
export function loadedSchemes(): string[] {
  return [...schemes].sort();
}

/**
 * Returns the metric label of a scheme: its name if it is loaded, or `other`. A message may carry any name, and labels
 * must stay few.
 */
export function schemeLabel(name: string): string {
  return schemes.has(name) ? name : 'other';
}
