import { Logger } from '@nestjs/common';

/** Makes the logger of one part of the library. Its context begins with `nest-dtx`, to tell it from those of an app. */
export function libraryLogger(part: string): Logger {
  return new Logger(`nest-dtx ${part}`);
}
