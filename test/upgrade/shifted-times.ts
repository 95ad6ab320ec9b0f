const DATE_TIME = /\b(20\d\d-\d\d-\d\d)([ T])(\d\d:\d\d:\d\d\.\d{3})/g;
const UUID_V7 = /\b([0-9a-f]{8})-([0-9a-f]{4})(-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})\b/g;
/** Milliseconds since the epoch, from the year 2023 to 2033. */
const MILLISECONDS = /\b(1[7-9]\d{11})\b/g;

/**
 * Moves every moment in a text by the same time: dates, UUIDs v7 and milliseconds. Equal ids stay equal, and their order
 * stays. An old recording then has the age that it had, for deadlines, leases and retention.
 */
export function shiftedTimes(text: string, byMs: number): string {
  return text
    .replace(DATE_TIME, (_, day, between, time) => {
      const moved = new Date(Date.parse(`${day}T${time}Z`) + byMs).toISOString().slice(0, -1);
      return moved.replace('T', between);
    })
    .replace(UUID_V7, (_, high, low, rest) => {
      const hex = (Number.parseInt(high + low, 16) + byMs).toString(16).padStart(12, '0');
      return `${hex.slice(0, 8)}-${hex.slice(8)}${rest}`;
    })
    .replace(MILLISECONDS, (ms) => String(Number(ms) + byMs));
}
