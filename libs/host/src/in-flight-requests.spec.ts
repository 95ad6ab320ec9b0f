import 'reflect-metadata';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { afterEach, expect, it } from 'vitest';
import { RouteTable } from './allowed-methods.js';
import { createAdapter } from './fastify-adapter.js';
import { ANNOUNCED_IDLE_S, Calls } from './in-flight-requests.js';

@Controller()
class Hello {
  @Get()
  hello(): object {
    return {};
  }
}

@Module({ controllers: [Hello] })
class HelloModule {}

const CALL = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';
const LONG_MS = 10_000;
let app: NestFastifyApplication;
let calls: Calls;
const sockets: Socket[] = [];

async function start(): Promise<void> {
  calls = new Calls();
  const adapter = createAdapter(new RouteTable(), calls, { trustProxy: [] });
  app = await NestFactory.create<NestFastifyApplication>(HelloModule, adapter, { logger: false });
  await app.init();
  await adapter.getInstance().listen({ port: 0, host: '127.0.0.1' });
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await app.close();
});

/** A connection whose bytes are collected. */
async function open(): Promise<{ socket: Socket; ended: Promise<string>; answer: () => Promise<string> }> {
  const socket = connect((app.getHttpServer().address() as AddressInfo).port, '127.0.0.1').setEncoding('utf8');
  sockets.push(socket);
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes;
  });
  const ended = new Promise<string>((resolve) => socket.once('close', () => resolve(text)).once('error', () => {}));
  await new Promise((resolve) => socket.once('connect', resolve));
  return {
    socket,
    ended,
    answer: () => new Promise((resolve) => socket.once('data', (bytes) => resolve(String(bytes)))),
  };
}

/** A connection on which a call was answered, so that it is idle. */
async function openAfterCall() {
  const connection = await open();
  connection.socket.write(CALL);
  expect(await connection.answer()).toContain(`\r\nkeep-alive: timeout=${ANNOUNCED_IDLE_S}\r\n`);
  return connection;
}

/** As `serve` stops. */
async function stop(withinMs: number): Promise<void> {
  await calls.end(withinMs);
  await app.close();
}

it.each([
  ['after a call', openAfterCall],
  ['before its first call', open],
])('answers a call on a connection that is idle %s', async (_, connect) => {
  await start();
  const { socket, ended } = await connect();
  const stopped = stop(LONG_MS);
  socket.write(CALL);
  expect(await ended).toMatch(/HTTP\/1\.1 200 OK\r\n(?!.*keep-alive).*connection: close/s);
  await stopped;
});

it('control: a stop that waits for calls only ends the connection of a call that is on its way', async () => {
  await start();
  const { socket, ended } = await openAfterCall();
  const stopped = stop(0);
  await ended;
  await stopped;
  expect(socket.readyState).not.toBe('open');
});

it('ends at once when no caller has a connection, and when the last one lets go of it', async () => {
  await start();
  const { socket } = await openAfterCall();
  const since = performance.now();
  const ended = calls.end(LONG_MS);
  socket.destroy();
  await ended;
  expect(performance.now() - since).toBeLessThan(1_000);
});

it('does not wait for a connection that is idle for longer than a caller keeps it', async () => {
  await start();
  const { socket } = await openAfterCall();
  const since = performance.now();
  await calls.end(LONG_MS);
  expect(performance.now() - since).toBeLessThan(ANNOUNCED_IDLE_S * 1_000 + 1_000);
  expect(socket.readyState).toBe('open');
});

it.each([
  ['HTTP/1.1 with connection: close', 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'],
  ['HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n'],
])('keeps no connection for a caller of %s', async (_, call) => {
  await start();
  const { socket, ended } = await open();
  socket.write(call);
  expect(await ended).toMatch(/connection: close/i);
});
