import { Get, Headers, Inject, Injectable, NotFoundException, Param, Req, Res, StreamableFile } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { type ConsoleFile, installedConsole } from './console-files.js';
import { OPS_OPTIONS, type OpsOptions } from './options.js';

/** Names of files have a hash, so a browser may keep them. */
const KEEP = 'public, max-age=31536000, immutable';

/**
 * `/dtx/console`: the static files of the package `nest-dtx-console`, if it is installed. They contain no data, so they need
 * no token. The page asks for it.
 */
@Injectable()
export class ConsoleController {
  private readonly files: ReadonlyMap<string, ConsoleFile> | null;
  private readonly policy: string;

  constructor(
    private readonly adapters: HttpAdapterHost,
    @Inject(OPS_OPTIONS) { console: isOn, consoleApps }: OpsOptions,
  ) {
    this.files = isOn ? installedConsole() : null;
    const others = consoleApps.map(({ url }) => new URL(url).origin);
    this.policy = [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self'",
      `connect-src ${["'self'", ...new Set(others)].join(' ')}`,
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
    ].join('; ');
  }

  @Get()
  page(
    @Req() { originalUrl, url }: { originalUrl?: string; url: string },
    @Headers('accept-encoding') encodings: unknown,
    @Res({ passthrough: true }) response: unknown,
  ): StreamableFile {
    const [path = ''] = (originalUrl ?? url).split('?');
    // Express also serves this path, but the files of the page are relative to the one without a slash.
    if (path.endsWith('/')) throw new NotFoundException(`unknown page ${path}; open ${path.replace(/\/+$/, '')}`);
    return this.send('index.html', { encodings, response, cache: 'no-cache' });
  }

  @Get('assets/:name')
  asset(
    @Param('name') name: string,
    @Headers('accept-encoding') encodings: unknown,
    @Res({ passthrough: true }) response: unknown,
  ): StreamableFile {
    return this.send(`assets/${name}`, { encodings, response, cache: KEEP });
  }

  private send(name: string, to: { encodings: unknown; response: unknown; cache: string }): StreamableFile {
    const file = this.files?.get(name);
    if (!file)
      throw new NotFoundException(
        this.files ? `unknown file ${name}` : 'the console is off or not installed; install nest-dtx-console',
      );
    const isGzip = /\bgzip\b/.test(String(to.encodings ?? ''));
    const set = (header: string, value: string) => this.adapters.httpAdapter.setHeader(to.response, header, value);
    set('content-security-policy', this.policy);
    set('x-content-type-options', 'nosniff');
    set('referrer-policy', 'no-referrer');
    set('cache-control', to.cache);
    set('vary', 'accept-encoding');
    if (isGzip) set('content-encoding', 'gzip');
    return new StreamableFile(isGzip ? file.gzipped : file.body, { type: file.type });
  }
}
