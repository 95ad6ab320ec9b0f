/**
 * The minimum time in milliseconds between two renewals of a pool. Each failed write reports the read-only server
 * again.
 */
const RENEW_MS = 1_000;

/**
 * Tracks whether the connections of a pool lead to a server without writes. If one does, all connections that were
 * opened before it are closed too. After a switchover of the address, one rejected write moves the whole pool.
 */
export class PoolWatch {
  private condemnedAt = Number.NEGATIVE_INFINITY;

  condemn(): void {
    const now = performance.now();
    if (now - this.condemnedAt > RENEW_MS) this.condemnedAt = now;
  }

  isOld(bornAt: number): boolean {
    return bornAt <= this.condemnedAt;
  }
}
