// The versions of the servers, which belong to each figure.
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { management } from './broker-api.js';
import type { ServerUrls } from './server-set.js';

export async function versionsOf(servers: ServerUrls): Promise<{ database: string; broker: string }> {
  const connection = await createConnection(servers.databases.order);
  try {
    const [rows] = await connection.query<RowDataPacket[]>('SELECT VERSION() AS version');
    const overview = await management<{ rabbitmq_version: string }>(servers.management, 'GET', '/overview');
    return { database: String(rows[0]?.version), broker: `RabbitMQ ${overview?.rabbitmq_version}` };
  } finally {
    await connection.end();
  }
}
