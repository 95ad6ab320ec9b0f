import { TooManyCalls } from '@nest-dtx/host';
import { Injectable } from '@nestjs/common';
import { Unavailable } from 'nest-dtx';

/** Long polls at the same time in this process. */
const ALL_MAX = 1_000;
/** Long polls at the same time of one caller, by its address. */
const CALLER_MAX = 200;

/** The places of long polls. A caller beyond its share is refused and cannot take the places of the others. */
@Injectable()
export class LongPolls {
  private readonly ofCaller = new Map<string, number>();
  private all = 0;

  /**
   * Takes a place. Returns the function that gives it back.
   * @throws TooManyCalls if the caller has all places of its share
   * @throws Unavailable if no place of this process is free
   */
  enter(caller: string): () => void {
    const own = this.ofCaller.get(caller) ?? 0;
    if (own >= CALLER_MAX) throw new TooManyCalls(`more than ${CALLER_MAX} calls with waitMs at the same time`);
    if (this.all >= ALL_MAX) throw new Unavailable('no place for another call with waitMs');
    this.ofCaller.set(caller, own + 1);
    this.all++;
    let isLeft = false;
    return () => {
      if (isLeft) return;
      isLeft = true;
      this.all--;
      const left = this.ofCaller.get(caller)! - 1;
      if (left > 0) this.ofCaller.set(caller, left);
      else this.ofCaller.delete(caller);
    };
  }
}
