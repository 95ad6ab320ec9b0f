import { describe, expect, it } from 'vitest';
import { SqlConnection } from './sql-packets.js';
import { shapeOf } from './statement-shape.js';

function packet(number: number, payload: Buffer | string): Buffer {
  const body = Buffer.from(payload as string);
  const header = Buffer.alloc(4);
  header.writeUIntLE(body.length, 0, 3);
  header[3] = number;
  return Buffer.concat([header, body]);
}
const query = (sql: string) => packet(0, `\x03${sql}`);

describe('SqlConnection', () => {
  const stream = Buffer.concat([
    packet(1, 'the answer to the greeting'),
    query('SELECT 1'),
    query("UPDATE t SET a = 'x' WHERE b = 2; COMMIT"),
    query('SELECT 2'),
  ]);

  it.each([1, 3, 7, 1_000])('counts commands, and not packets of the login, in chunks of %s bytes', (size) => {
    const connection = new SqlConnection();
    for (let at = 0; at < stream.length; at += size) connection.toServer(stream.subarray(at, at + size));
    expect(connection.commands).toBe(3);
    expect(Object.fromEntries(connection.shapes)).toEqual({
      'SELECT ?': 2,
      'UPDATE t SET a = ? WHERE b = ?; COMMIT': 1,
    });
  });

  it('counts a command once that is longer than a packet can be', () => {
    const connection = new SqlConnection();
    connection.toServer(packet(0, Buffer.alloc(0xff_ff_ff, '\x03')));
    connection.toServer(packet(1, 'the rest'));
    connection.toServer(packet(0, Buffer.alloc(0xff_ff_ff, '\x03')));
    connection.toServer(packet(0, 'a rest, after 256 packets'));
    connection.toServer(query('SELECT 1'));
    expect(connection.commands).toBe(3);
  });

  it('shows an execution by the text of its prepared statement', () => {
    const connection = new SqlConnection();
    connection.toServer(packet(0, '\x16SELECT ?'));
    connection.toClient(packet(1, Buffer.from([0, 9, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0])));
    connection.toServer(packet(0, Buffer.from([0x17, 9, 0, 0, 0, 0])));
    expect(Object.fromEntries(connection.shapes)).toEqual({ 'prepare SELECT ?': 1, 'SELECT ?': 1 });
  });

  it('reports the time between a command and its answer once', () => {
    const answers: string[] = [];
    const connection = new SqlConnection((shape, ms) => answers.push(`${shape} ${ms >= 0}`));
    connection.toServer(query('SELECT 1'));
    connection.toClient(packet(1, 'columns'));
    connection.toClient(packet(2, 'rows'));
    expect(answers).toEqual(['SELECT ? true']);
  });
});

describe('shapeOf', () => {
  it.each([
    ["INSERT INTO t VALUES ('a', 1), ('it''s', 2)", 'INSERT INTO t VALUES (?), ...'],
    ['SELECT x FROM t WHERE id IN (X\'0a\', 3.5)\n  AND b = "c\\"d"', 'SELECT x FROM t WHERE id IN (?) AND b = ?'],
    ['SELECT a1 /* note 7 */ FROM t2', 'SELECT a1 FROM t2'],
  ])('reduces %s', (sql, shape) => {
    expect(shapeOf(sql)).toBe(shape);
  });
});
