import '@nestjs/common';
import '@nestjs/core';
import '@nestjs/microservices';

/** For `import`. Nest 12 is ESM: it is loaded before the CommonJS code requires it, or parallel imports would fail. */
export * from './index.js';
