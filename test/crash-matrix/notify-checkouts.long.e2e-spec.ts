import { afterAll } from 'vitest';
import { Target } from '../fixtures/notification-target.js';
import { crashMatrix } from './matrix-tests.js';
import { checkoutRows } from './notify.rows.js';
import { ofCheckouts } from './notify.scheme.js';

const target = await Target.start();
crashMatrix('notify_checkouts', ofCheckouts(target), checkoutRows);
afterAll(() => target.close());
