/** Types of the frames with which an HTTP/2 server begins or refuses a connection: SETTINGS and GOAWAY. */
const FIRST_FRAMES = [4, 7];
const FRAME_HEAD_BYTES = 9;

const HTTP2_ONLY = 'the target accepts HTTP/2 only, and notifications use HTTP/1.1; enable HTTP/1.1 at the target';

/** The text of a failed call. Node describes an answer in HTTP/2 as a parse error only. */
export function textOfCallError(error: NodeJS.ErrnoException & { rawPacket?: Buffer }): string {
  const isAlpnRefused = error.code === 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL';
  if (isAlpnRefused || (error.rawPacket !== undefined && isHttp2(error.rawPacket))) return HTTP2_ONLY;
  return error.message || String(error.code);
}

/** True for bytes that begin with such a frame on stream 0. */
function isHttp2(bytes: Buffer): boolean {
  return bytes.length >= FRAME_HEAD_BYTES && FIRST_FRAMES.includes(bytes[3]!) && bytes.readUInt32BE(5) === 0;
}
