import type { Duplex } from 'node:stream';

type Write = (...frame: unknown[]) => boolean;

/**
 * Frames that are written in one turn of the event loop go to the kernel together. amqplib writes each frame by itself: a
 * system call, a packet and a read of the broker for each message, receipt and ack. Nothing waits for more frames. `write`
 * returns false once a high water mark is gathered. The flush at the end of the turn emits `drain`, and amqplib goes on. Frames
 * of a process that dies here were not confirmed, so they are sent again.
 * @see https://nodejs.org/api/stream.html#writablecork
 */
export function gatherWrites(stream: Duplex): void {
  const write = stream.write.bind(stream) as Write;
  let isCorked = false;
  const uncork = () => {
    isCorked = false;
    stream.uncork();
  };
  stream.write = ((...frame) => {
    if (!isCorked) {
      isCorked = true;
      stream.cork();
      process.nextTick(uncork);
    }
    return write(...frame);
  }) satisfies Write;
}
