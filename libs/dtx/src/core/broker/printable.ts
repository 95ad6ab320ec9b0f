const BYTES_MAX = 200;

/** The first bytes of a message that cannot be read, for a log line. No byte can end the line or control a terminal. */
export function printable(content: Buffer): string {
  return [...content.subarray(0, BYTES_MAX)].map(spelled).join('');
}

function spelled(byte: number): string {
  const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x5c;
  return isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
}
