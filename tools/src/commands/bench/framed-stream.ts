// Cuts a byte stream into the frames of its protocol. Chunks may end anywhere. Only the beginning of a payload is kept.

/** How a protocol frames its payloads. */
export interface Framing {
  /** Bytes that come once, before the first frame. */
  readonly preamble?: number;
  readonly header: number;
  /** Length of the payload with all that follows it, from its header. */
  readonly lengthOf: (header: Buffer) => number;
  /** How much of a payload is shown at most. */
  readonly shown: number;
}

export class FramedStream {
  private rest: Buffer = Buffer.alloc(0);
  /** Bytes of the current frame that are not needed. */
  private skip: number;

  constructor(
    private readonly framing: Framing,
    private readonly onFrame: (header: Buffer, payload: Buffer) => void,
  ) {
    this.skip = framing.preamble ?? 0;
  }

  take(chunk: Buffer): void {
    const { header, lengthOf, shown } = this.framing;
    let data = this.rest.length > 0 ? Buffer.concat([this.rest, chunk]) : chunk;
    for (;;) {
      const skipped = Math.min(this.skip, data.length);
      this.skip -= skipped;
      data = data.subarray(skipped);
      if (this.skip > 0 || data.length < header) break;
      const length = lengthOf(data);
      const needed = Math.min(length, shown);
      if (data.length < header + needed) break;
      this.onFrame(data.subarray(0, header), data.subarray(header, header + needed));
      this.skip = header + length;
    }
    this.rest = Buffer.from(data);
  }
}
