/** A row of XA RECOVER. MariaDB has no CONVERT XID and answers with bytes. MySQL garbles bytes unless it is asked for hex. */
export interface ListedXid {
  data: Buffer | string;
  formatID: number | bigint;
  gtrid_length: number | bigint;
}

export const bytesOfXid = ({ data }: ListedXid): Buffer =>
  Buffer.isBuffer(data) ? data : Buffer.from(data.replace(/^0x/i, ''), 'hex');
