import {
  Body,
  ConflictException,
  Controller,
  Get,
  HttpCode,
  NotFoundException,
  Param,
  Post,
  Query,
  UseGuards,
} from '@nestjs/common';
import { Operations, type Resolution, type SummaryRow, type TransactionView } from '../core/operations.js';
import { AdminGuard } from './admin.guard.js';
import { check, idParam, listQuery, resolveBody, retryBody } from './query.js';

/** `/dtx/transactions` and `/dtx/summary`: what this app drives or parked, and what a person may do about it. */
@Controller('dtx')
@UseGuards(AdminGuard)
export class TransactionsController {
  constructor(private readonly operations: Operations) {}

  @Get('transactions')
  async list(@Query() query: unknown): Promise<{ items: TransactionView[]; nextCursor: string | null }> {
    const { scheme, state, limit, cursor } = check(listQuery, query, 'query');
    const before =
      cursor === undefined ? undefined : check(idParam, Buffer.from(cursor, 'base64url').toString(), 'cursor');
    const lists = await Promise.all(
      this.operations.sources.map((s) => s.list({ scheme, state, limit: limit + 1, before })),
    );
    const all = lists.flat().sort((a, b) => (a.id < b.id ? 1 : -1));
    const items = all.slice(0, limit);
    const more = all.length > limit;
    return { items, nextCursor: more ? Buffer.from(items.at(-1)!.id).toString('base64url') : null };
  }

  @Get('transactions/:id')
  async one(@Param('id') given: unknown): Promise<object> {
    const id = check(idParam, given, 'id');
    for (const source of this.operations.sources) {
      const found = await source.get(id);
      if (found) return found;
    }
    throw new NotFoundException(`this app knows no transaction ${id}`);
  }

  @Post('transactions/retry')
  @HttpCode(200)
  async retryAll(@Body() body: unknown): Promise<{ retried: number }> {
    const query = check(retryBody, body, 'body');
    const counts = await Promise.all(this.operations.sources.map((source) => source.retryAll(query)));
    return { retried: counts.reduce((sum, count) => sum + count, 0) };
  }

  @Post('transactions/:id/retry')
  @HttpCode(200)
  async retry(@Param('id') given: unknown): Promise<object> {
    const id = check(idParam, given, 'id');
    await this.act(id, (source) => source.retry(id), 'it is settled: there is nothing to retry');
    return this.one(id);
  }

  @Post('transactions/:id/resolve')
  @HttpCode(200)
  async resolve(@Param('id') given: unknown, @Body() body: unknown): Promise<object> {
    const id = check(idParam, given, 'id');
    const { outcome, note } = check(resolveBody, body, 'body');
    const refusal =
      outcome === 'reject' ? 'it is settled, or its scheme has no refusal path here' : 'it is settled already';
    await this.act(id, (source) => source.resolve(id, outcome, note), refusal);
    return this.one(id);
  }

  @Get('summary')
  async summary(): Promise<{ schemes: SummaryRow[] }> {
    const rows = await Promise.all(this.operations.sources.map((source) => source.summary()));
    return { schemes: rows.flat() };
  }

  private async act(
    id: string,
    act: (source: Operations['sources'][number]) => Promise<Resolution>,
    refusal: string,
  ): Promise<void> {
    for (const source of this.operations.sources) {
      const result = await act(source);
      if (result === 'done') return;
      if (result === 'not-possible') throw new ConflictException(`${id}: ${refusal}`);
    }
    throw new NotFoundException(`this app knows no transaction ${id}`);
  }
}
