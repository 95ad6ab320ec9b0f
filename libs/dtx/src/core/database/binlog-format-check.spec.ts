import { describe, expect, it } from 'vitest';
import { binlogFlaw } from './binlog-format-check.js';

const settings = (log_bin: string, binlog_format?: string) =>
  Object.entries({ log_bin, binlog_format })
    .filter(([, value]) => value !== undefined)
    .map(([Variable_name, Value]) => ({ Variable_name, Value }));

describe('binlogFlaw', () => {
  it('a binary log of statements is a flaw, with the setting and the remedy', () => {
    expect(binlogFlaw(settings('ON', 'STATEMENT'))).toMatch(/binlog_format = STATEMENT .* set binlog_format to ROW/);
  });

  it.each([
    ['no binary log', settings('OFF', 'STATEMENT')],
    ['rows', settings('ON', 'ROW')],
    ['rows where needed', settings('ON', 'MIXED')],
    ['a server without the setting', settings('ON')],
  ])('%s works', (_, given) => {
    expect(binlogFlaw(given)).toBeNull();
  });
});
