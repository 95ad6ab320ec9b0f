/** A deep copy of a value that JSON.parse has made. `structuredClone` encodes it for another thread, which costs several times as much. */
export function copyOfJson<Json>(json: Json): Json {
  if (typeof json !== 'object' || json === null) return json;
  if (Array.isArray(json)) return json.map(copyOfJson) as Json;
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(json)) {
    // An assignment would set the prototype. JSON.parse makes a property of this name.
    if (key === '__proto__')
      Object.defineProperty(copy, key, {
        value: copyOfJson(value),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    else copy[key] = copyOfJson(value);
  }
  return copy as Json;
}
