/** A text column that is compared by its bytes, as the library's ids and states are. */
export const ascii = (type: string) => `${type} CHARACTER SET ascii COLLATE ascii_bin`;
/** The end of a lease that begins now, as SQL. */
export const LEASE = 'UTC_TIMESTAMP(3) + INTERVAL 30 SECOND';
