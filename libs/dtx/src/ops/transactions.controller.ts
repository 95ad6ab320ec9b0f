import {
  Body,
  ConflictException,
  Get,
  Headers,
  HttpCode,
  Injectable,
  NotFoundException,
  Param,
  Post,
  Query,
} from '@nestjs/common';
import {
  NoHandlerHere,
  Operations,
  type OperationsSource,
  type Resolution,
  type SingleView,
  type SummaryRow,
  type TransactionView,
} from '../core/durable/operations-registry.js';
import { BulkRetry, type BulkRetryView } from './bulk-retry.js';
import { Counts } from './open-row-counts.js';
import { beforeOf, cursorOf } from './page-cursor.js';
import {
  check,
  idParam,
  listQuery,
  operatorOf,
  rescheduleBody,
  resolveBody,
  retryBody,
  retryOneBody,
} from './request-schemas.js';
import { type FoundRow, firstForOperator, rowsOf } from './row-of-an-id.js';

/** Optional header with the name of the operator, for the record. */
const OPERATOR = 'dtx-operator';

/**
 * `/dtx/transactions` and `/dtx/summary`: rows that this app drives or has parked, and the actions of an operator. An action
 * commits with its record in `dtx_operation`, or not at all. If the process dies within a retry of many rows, a part of
 * them is retried, and the call can be repeated.
 */
@Injectable()
export class TransactionsController {
  constructor(
    private readonly operations: Operations,
    private readonly counts: Counts,
    private readonly bulk: BulkRetry,
  ) {}

  @Get('transactions')
  async list(@Query() query: unknown): Promise<{ items: TransactionView[]; nextCursor: string | null }> {
    const { scheme, state, limit, cursor } = check(listQuery, query, 'query');
    const before = beforeOf(cursor);
    const pages = await Promise.all(
      this.operations.sources.map((s) => s.list({ scheme, state, limit: limit + 1, before })),
    );
    // The page ends where the first source stopped reading. It may be short or empty and still have a successor.
    const floor = pages.reduce((lowest, { through }) => (through !== null && through > lowest ? through : lowest), '');
    const all = pages.flatMap((page) => page.items).filter(({ id }) => id >= floor);
    all.sort((a, b) => (a.id < b.id ? 1 : -1));
    const items = all.slice(0, limit);
    const next = all.length > limit ? items.at(-1)!.id : floor;
    return { items, nextCursor: next === '' ? null : cursorOf(next) };
  }

  @Get('retry')
  bulkRetry(): { retry: BulkRetryView | null } {
    return { retry: this.bulk.progress };
  }

  @Get('transactions/:id')
  async one(@Param('id') given: unknown): Promise<object> {
    const id = check(idParam, given, 'id');
    return (await this.find(id)).view;
  }

  /** Answers before the rows are retried, since a million of them takes longer than a request may. */
  @Post('transactions/retry')
  @HttpCode(202)
  async retryAll(@Body() body: unknown, @Headers(OPERATOR) operator: unknown): Promise<{ matching: number }> {
    const query = check(retryBody, body, 'body');
    return { matching: await this.bulk.start(query, { by: operatorOf(operator) }) };
  }

  @Post('transactions/:id/retry')
  @HttpCode(200)
  async retry(
    @Param('id') given: unknown,
    @Body() body: unknown,
    @Headers(OPERATOR) operator: unknown,
  ): Promise<object> {
    const id = check(idParam, given, 'id');
    const action = { ...check(retryOneBody, body, 'body'), by: operatorOf(operator) };
    return this.act(id, (source) => source.retry(id, action), 'cannot retry: already settled');
  }

  @Post('transactions/:id/reschedule')
  @HttpCode(200)
  async reschedule(
    @Param('id') given: unknown,
    @Body() body: unknown,
    @Headers(OPERATOR) operator: unknown,
  ): Promise<object> {
    const id = check(idParam, given, 'id');
    const { dueInMs, note } = check(rescheduleBody, body, 'body');
    const action = { note, by: operatorOf(operator) };
    const move = async (source: OperationsSource): Promise<Resolution> =>
      source.reschedule?.(id, dueInMs, action) ?? 'not-possible';
    return this.act(id, move, 'cannot reschedule: it has no delay, or it is due');
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
      outcome === 'reject'
        ? 'cannot reject: already settled, or its scheme has no rejection; use {"outcome":"done"}'
        : 'cannot resolve: already settled';
    const action = { note, by: operatorOf(operator) };
    return this.act(id, (source) => source.resolve(id, outcome, action), refusal);
  }

  @Get('summary')
  async summary(): Promise<{ schemes: Array<SummaryRow & { ageMs: number }> }> {
    return { schemes: await this.counts.readOrFail() };
  }

  /** Acts on the row that `one` shows, and answers with its new view. A row of another scheme stays as it is. */
  private async act(
    id: string,
    act: (source: OperationsSource) => Promise<Resolution>,
    refusal: string,
  ): Promise<SingleView> {
    const { source } = await this.find(id);
    const result = await act(source).catch((error: unknown) => {
      throw error instanceof NoHandlerHere ? new ConflictException(`${id}: cannot reject: ${error.message}`) : error;
    });
    this.counts.forget();
    if (result === 'not-possible') throw new ConflictException(`${id}: ${refusal}`);
    const view = result === 'done' ? await source.get(id) : null;
    return view ?? unknownId(id);
  }

  /** The row of an id, with its source. @throws NotFoundException */
  private async find(id: string): Promise<FoundRow> {
    return (await firstForOperator(await rowsOf(this.operations.sources, id))) ?? unknownId(id);
  }
}

function unknownId(id: string): never {
  throw new NotFoundException(`unknown transaction ${id}; another app may have it`);
}
