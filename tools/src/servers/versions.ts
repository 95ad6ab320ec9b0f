// The versions of the servers, which belong to each figure.
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { management } from './broker-api.js';
import type { ServerUrls } from './server-set.js';

export async function versionsOf(servers: ServerUrls): Promise<{ database: string; broker: string }> {
  const connection = await createConnection(servers.databases.order);
  try {
    const [rows] = await connection.query<RowDataPacket[]>('SELECT VERSION() AS version');
    const overview = await management<{ rabbitmq_version: string }>(servers.management, 'GET', '/overview');
    const version = String(rows[0]?.version);
    // MySQL gives its number alone.
    const database = /mariadb/i.test(version) ? version : `MySQL ${version}`;
    return { database, broker: `RabbitMQ ${overview?.rabbitmq_version}` };
  } finally {
    await connection.end();
  }
}
