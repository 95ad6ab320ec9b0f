import { Injectable, type Type } from '@nestjs/common';
import { type DtxContract, OnMessage } from 'nest-dtx';
import { EntityManager } from 'typeorm';
import { Effect } from './effect.entity.js';
import { moduleOf, start } from './running-service.js';
import { alertsOf, contractOf, ended, modulesOf, send } from './sent-message.js';

const MESSAGES = 6;

/** A handler whose first call for each message fails. */
function failsFirst(asked: DtxContract<{ id: string }>): Type {
  const failed = new Set<string>();
  @Injectable()
  class FailsFirst {
    @OnMessage(asked)
    async handle(tx: EntityManager, { id }: { id: string }): Promise<void> {
      if (!failed.has(id)) {
        failed.add(id);
        throw new Error('a passing failure');
      }
      await tx.insert(Effect, { scheme: 'differing', orderId: id });
    }
  }
  return FailsFirst;
}

/**
 * Two applications on one database, of which only the worker has the handler. The other one scans far more often, so it
 * meets each failed message first.
 */
async function between(api: string, worker: string): Promise<object> {
  const asked = contractOf(`${worker}.work-for-${api}`);
  const often = await start(moduleOf({ imports: modulesOf(api, { scanIntervalMs: 20 }) }));
  const work = moduleOf({ imports: modulesOf(worker, { scanIntervalMs: 1_000 }), providers: [failsFirst(asked)] });
  const seldom = await start(work);
  const states: string[] = [];
  const alerts: string[] = [];
  const ids = Array.from({ length: MESSAGES }, (_, index) => `${api}-${worker}-${index}`);
  await Promise.all(ids.map((id) => send(often, asked, id)));
  for (const id of ids) {
    const { state, error } = await ended(often, id);
    states.push(state === 'HANDLED' ? state : `${state}: ${error}`);
    alerts.push(...(await alertsOf(often, id)));
  }
  await Promise.all([often.close(), seldom.close()]);
  return { states: [...new Set(states)], alerts };
}

export async function differingInstances(): Promise<object> {
  return { ofOneApp: await between('twin', 'twin'), ofTwoApps: await between('front', 'back') };
}
