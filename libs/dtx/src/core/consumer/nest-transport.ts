import { Injectable } from '@nestjs/common';
import type { CustomTransportStrategy } from '@nestjs/microservices';

/**
 * Was the Nest transport of the library. It does nothing.
 * @deprecated The library mounts its handlers at the start of the application. Remove the transport.
 */
@Injectable()
export class DtxTransport implements CustomTransportStrategy {
  listen(callback: () => void): void {
    callback();
  }

  close(): void {}
}

/**
 * Was needed to consume messages. It does nothing.
 * @deprecated The library mounts its handlers at the start of the application. Remove the call, and
 *   `startAllMicroservices()` unless the application has other microservices.
 */
export function connectDtx(_app: unknown): void {}
