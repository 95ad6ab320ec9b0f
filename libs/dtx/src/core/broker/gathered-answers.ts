/** The largest message with several answers, in characters. A larger answer has one of its own. */
const CHARS_MAX = 64 * 1024;

/** Answers to one caller, which wait for the end of the turn of the event loop. */
interface Gathered {
  readonly texts: string[];
  chars: number;
  readonly sent: Promise<void>;
}

/** Sends one message with the id of its first answer. */
type SendBody = (to: string, id: string, body: string) => Promise<void>;

/**
 * Answers that become ready in one turn of the event loop, as those of calls that shared a transaction do, go to their
 * caller in one message. Nothing waits longer than that turn. If the process dies meanwhile, the calls were not
 * acknowledged, and are delivered again.
 */
export class GatheredAnswers {
  private readonly gathered = new Map<string, Gathered>();

  constructor(private readonly send: SendBody) {}

  /** Resolves or rejects as the sending of its message does. */
  add(to: string, callId: string, answer: string): Promise<void> {
    let now = this.gathered.get(to);
    if (!now || now.chars + answer.length > CHARS_MAX) {
      now = this.begin(to, callId);
      this.gathered.set(to, now);
    }
    now.texts.push(answer);
    now.chars += answer.length;
    return now.sent;
  }

  private begin(to: string, id: string): Gathered {
    const texts: string[] = [];
    const sent = new Promise<void>((resolve, reject) => {
      setImmediate(() => {
        if (this.gathered.get(to)?.texts === texts) this.gathered.delete(to);
        this.send(to, id, bodyOf(texts)).then(resolve, reject);
      });
    });
    return { texts, chars: 0, sent };
  }
}

/** One answer has the form that a caller of the version before reads. */
const bodyOf = (texts: readonly string[]) => (texts.length === 1 ? texts[0]! : `{"answers":[${texts.join(',')}]}`);

/** The answers in the body of a message. */
export function answersIn(json: unknown): readonly unknown[] {
  const several = (json as { answers?: unknown } | null | undefined)?.answers;
  return Array.isArray(several) ? several : [json];
}
