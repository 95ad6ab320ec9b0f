import type { HttpAdapterHost } from '@nestjs/core';
import { expect, it } from 'vitest';
import { ConsoleController } from './console.controller.js';
import { opsOptions } from './options.js';

const controller = new ConsoleController({} as HttpAdapterHost, opsOptions.parse({ adminToken: 'x', console: false }));
const ask = (request: { originalUrl?: string; url: string }) => () => controller.page(request, '', {});

it('refuses the page with a slash at its end, which Express would serve without its files', () => {
  expect(ask({ url: '/dtx/console/?x=1' })).toThrow('unknown page /dtx/console/; open /dtx/console');
  expect(ask({ originalUrl: '/api/dtx/console/', url: '/' })).toThrow('open /api/dtx/console');
});

it('says of the page without it that the console is off', () => {
  expect(ask({ url: '/dtx/console' })).toThrow('the console is off or not installed');
  expect(ask({ originalUrl: '/api/dtx/console', url: '/' })).toThrow('the console is off or not installed');
});
