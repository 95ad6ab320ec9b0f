import { ConsoleLogger } from '@nestjs/common';
import { currentGid, currentTraceparent } from 'nest-dtx';

/** One JSON object a line, with the global transaction and the trace that it belongs to, where it belongs to one. */
export class TracedLogger extends ConsoleLogger {
  constructor() {
    super({ json: true, colors: false });
  }

  protected override getJsonLogObject(...args: Parameters<ConsoleLogger['getJsonLogObject']>) {
    const [gid, traceId] = [currentGid(), currentTraceparent()?.split('-')[1]];
    return { ...super.getJsonLogObject(...args), ...(gid && { gid }), ...(traceId && { traceId }) };
  }
}
