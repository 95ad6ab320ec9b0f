import { expect, it } from 'vitest';
import { keepResultIn } from './barrier.js';

it.each(['`shop$`.dtx_saga_barrier', '`a$&b`.dtx_saga_barrier', '`$$`.dtx_saga_barrier', 'red_saga_barrier'])(
  'keeps a result in the table %s, whatever its database is called',
  (table) => {
    expect(keepResultIn(table)).toMatch(/^UPDATE \S+ SET result = \?\s+WHERE gid = \? AND/);
    expect(keepResultIn(table).split(' ')[1]).toBe(table);
  },
);
