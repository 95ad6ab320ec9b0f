import { ConsoleLogger } from '@nestjs/common';
import { currentGid, currentTraceparent } from 'nest-dtx';

/** Logs one JSON object per line, with the gid and the trace id of the current call or message, if any. */
export class TracedLogger extends ConsoleLogger {
  constructor() {
    super({ json: true, colors: false });
  }

  protected override getJsonLogObject(...args: Parameters<ConsoleLogger['getJsonLogObject']>) {
    const [gid, traceId] = [currentGid(), currentTraceparent()?.split('-')[1]];
    return { ...super.getJsonLogObject(...args), ...(gid && { gid }), ...(traceId && { traceId }) };
  }
}
