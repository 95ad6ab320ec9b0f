import { Get, Headers, HttpCode, Injectable, NotFoundException, Param, Post, Query } from '@nestjs/common';
import { Alerts, type AlertView } from '../core/durable/alerts.js';
import { beforeOf, cursorOf } from './page-cursor.js';
import { alertsQuery, check, idParam, operatorOf } from './request-schemas.js';

/** `/dtx/alerts`: one alert per incident, newest first. An acknowledgement commits with its record and can be repeated. */
@Injectable()
export class AlertsController {
  constructor(private readonly alerts: Alerts) {}

  @Get()
  async list(@Query() query: unknown): Promise<{ items: AlertView[]; nextCursor: string | null }> {
    const { open: isOpen, limit, cursor } = check(alertsQuery, query, 'query');
    const found = await this.alerts.list({ isOpen, limit: limit + 1, before: beforeOf(cursor) });
    const items = found.slice(0, limit);
    return { items, nextCursor: found.length > limit ? cursorOf(items.at(-1)!.id) : null };
  }

  @Post(':id/acknowledge')
  @HttpCode(200)
  async acknowledge(@Param('id') given: unknown, @Headers('dtx-operator') operator: unknown): Promise<AlertView> {
    const id = check(idParam, given, 'id');
    const alert = await this.alerts.acknowledge(id, { by: operatorOf(operator) });
    if (!alert) throw new NotFoundException(`unknown alert ${id}; see GET /dtx/alerts`);
    return alert;
  }
}
