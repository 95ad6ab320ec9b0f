import {
  Body,
  ConflictException,
  Controller,
  Get,
  Headers,
  HttpCode,
  NotFoundException,
  Param,
  Post,
  Query,
  UseGuards,
} from '@nestjs/common';
import { Operations, type Resolution, type SummaryRow, type TransactionView } from '../core/durable/operations.js';
import { AdminGuard } from './admin.guard.js';
import { Counts } from './counts.js';
import { check, idParam, listQuery, resolveBody, retryBody, retryOneBody, who } from './query.js';

/** Says who is at work, for the record; optional. */
const OPERATOR = 'dtx-operator';

/** `/dtx/transactions` and `/dtx/summary`: what this app drives or parked, and what a person may do about it. */
@Controller('dtx')
@UseGuards(AdminGuard)
export class TransactionsController {
  constructor(
    private readonly operations: Operations,
    private readonly counts: Counts,
  ) {}

  @Get('transactions')
  async list(@Query() query: unknown): Promise<{ items: TransactionView[]; nextCursor: string | null }> {
    const { scheme, state, limit, cursor } = check(listQuery, query, 'query');
    const before =
      cursor === undefined ? undefined : check(idParam, Buffer.from(cursor, 'base64url').toString(), 'cursor');
    const pages = await Promise.all(
      this.operations.sources.map((s) => s.list({ scheme, state, limit: limit + 1, before })),
    );
    // Only as far as every source has looked: a page may be short, or empty, and still have one after it.
    const floor = pages.reduce((lowest, { through }) => (through !== null && through > lowest ? through : lowest), '');
    const all = pages.flatMap((page) => page.items).filter(({ id }) => id >= floor);
    all.sort((a, b) => (a.id < b.id ? 1 : -1));
    const items = all.slice(0, limit);
    const next = all.length > limit ? items.at(-1)!.id : floor;
    return { items, nextCursor: next === '' ? null : Buffer.from(next).toString('base64url') };
  }

  @Get('transactions/:id')
  async one(@Param('id') given: unknown): Promise<object> {
    const id = check(idParam, given, 'id');
    const found = await Promise.all(this.operations.sources.map((source) => source.get(id)));
    const known = found.filter((one) => one !== null);
    // Two schemes may know an id. What waits for a person goes first: it is what the person came for.
    const view = known.find(({ state }) => state === 'PARKED') ?? known[0];
    if (!view) throw new NotFoundException(`this app knows no transaction ${id}`);
    return view;
  }

  @Post('transactions/retry')
  @HttpCode(200)
  async retryAll(@Body() body: unknown, @Headers(OPERATOR) operator: unknown): Promise<{ retried: number }> {
    const query = check(retryBody, body, 'body');
    const word = { by: who(operator) };
    const counts = await Promise.all(this.operations.sources.map((source) => source.retryAll(query, word)));
    this.counts.forget();
    return { retried: counts.reduce((sum, count) => sum + count, 0) };
  }

  @Post('transactions/:id/retry')
  @HttpCode(200)
  async retry(
    @Param('id') given: unknown,
    @Body() body: unknown,
    @Headers(OPERATOR) operator: unknown,
  ): Promise<object> {
    const id = check(idParam, given, 'id');
    const word = { ...check(retryOneBody, body, 'body'), by: who(operator) };
    await this.act(id, (source) => source.retry(id, word), 'it is settled: there is nothing to retry');
    return this.one(id);
  }

  @Post('transactions/:id/resolve')
  @HttpCode(200)
  async resolve(
    @Param('id') given: unknown,
    @Body() body: unknown,
    @Headers(OPERATOR) operator: unknown,
  ): Promise<object> {
    const id = check(idParam, given, 'id');
    const { outcome, note } = check(resolveBody, body, 'body');
    const refusal =
      outcome === 'reject' ? 'it is settled, or its scheme has no refusal path here' : 'it is settled already';
    await this.act(id, (source) => source.resolve(id, outcome, { note, by: who(operator) }), refusal);
    return this.one(id);
  }

  @Get('summary')
  async summary(): Promise<{ schemes: Array<SummaryRow & { ageMs: number }> }> {
    return { schemes: await this.counts.readOrFail() };
  }

  private async act(
    id: string,
    act: (source: Operations['sources'][number]) => Promise<Resolution>,
    refusal: string,
  ): Promise<void> {
    let isKnown = false;
    // Two schemes may know an id. What is settled in one of them is no reason to leave the other as it is.
    for (const source of this.operations.sources) {
      const result = await act(source);
      this.counts.forget();
      if (result === 'done') return;
      isKnown ||= result === 'not-possible';
    }
    if (isKnown) throw new ConflictException(`${id}: ${refusal}`);
    throw new NotFoundException(`this app knows no transaction ${id}`);
  }
}
