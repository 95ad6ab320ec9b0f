import { afterAll } from 'vitest';
import { Target } from '../fixtures/notification-target.js';
import { crashMatrix } from './matrix-tests.js';
import { orderRows } from './notify.rows.js';
import { ofOrders } from './notify.scheme.js';

const target = await Target.start();
crashMatrix('notify_orders', ofOrders(target), orderRows(target));
afterAll(() => target.close());
