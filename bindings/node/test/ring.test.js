// Do Node clients and servers talk through a ring? KERN is the program, KERNMANTLE_LIBRARY the library.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Client as SecondClient } from '@modelcontextprotocol/client';
import { Client as FirstClient } from '@modelcontextprotocol/sdk/client/index.js';
import { RingClientTransport } from 'kernmantle';

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
};

/** A kern with a builtin and, behind a ring of its own, a Node server. */
async function startKern() {
  const folder = mkdtempSync(join(tmpdir(), 'ring-'));
  const [config, path, log] = ['kern.toml', 'ring', 'log'].map((name) => join(folder, name));
  const server = join(import.meta.dirname, 'server.js');
  const library = JSON.stringify(process.env.KERNMANTLE_LIBRARY);
  writeFileSync(
    config,
    `[upstream.in]\nbuiltin = "echo"\n[upstream.js]\ncommand = ${JSON.stringify(process.execPath)}\n` +
      `args = [${JSON.stringify(server)}]\nring = true\nenv = { KERNMANTLE_LIBRARY = ${library} }\n`,
  );
  const words = ['serve', '--config', config, '--listen', '127.0.0.1:0', '--ring', path];
  const stdio = ['ignore', 'ignore', openSync(log, 'w')];
  const kern = spawn(process.env.KERN, words, { stdio });
  const ended = once(kern, 'exit');
  for (let at = 0; !existsSync(path); at += 1) {
    assert.ok(at < 1000 && kern.exitCode === null, readFileSync(log, 'utf8'));
    await sleep(20);
  }
  return {
    path,
    async stop(signal = 'SIGTERM') {
      kern.kill(signal);
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}

/** A bare transport: what it receives is told to `next`. */
async function connected(path) {
  const transport = new RingClientTransport(path);
  const waiting = [];
  const come = [];
  transport.onmessage = (message) => {
    if (waiting.length > 0) waiting.shift()(message);
    else come.push(message);
  };
  const errors = [];
  transport.onerror = (error) => errors.push(error);
  const closed = new Promise((resolve) => (transport.onclose = resolve));
  await transport.start();
  const next = () => (come.length > 0 ? come.shift() : new Promise((next) => waiting.push(next)));
  return { transport, closed, errors, next };
}

const call = (id, name, args) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args, _meta: META },
});

describe('through a kern', { timeout: 120_000 }, () => {
  let kern;
  before(async () => (kern = await startKern()));
  after(() => kern.stop());

  for (const [name, Client] of Object.entries({ first: FirstClient, second: SecondClient })) {
    test(`the ${name} generation of the SDK calls tools of kern and of a Node server`, async () => {
      const client = new Client({ name: 'test', version: '1.0.0' });
      const ended = new Promise((resolve) => (client.onclose = resolve));
      await client.connect(new RingClientTransport(kern.path));
      const names = (await client.listTools()).tools.map((tool) => tool.name);
      assert.ok(names.includes('in__echo') && names.includes('js__double'), names.join());
      const texts = [...Array(24).keys()].map((at) => `ä${at}`.repeat(1 + (at % 8) * 20_000));
      const one = (text) => client.callTool({ name: 'js__double', arguments: { text } });
      const results = await Promise.all(texts.map(one));
      results.forEach((result, at) => assert.ok(result.content[0].text === texts[at].repeat(2)));
      await client.close();
      await ended;
    });
  }

  test('more than the ring holds is sent without stopping the event loop', async () => {
    const { transport, next, errors } = await connected(kern.path);
    const text = 'x'.repeat(1 << 20);
    const sent = [...Array(40).keys()].map((id) => transport.send(call(id, 'in__echo', { message: text })));
    let turns = 0;
    const turning = setInterval(() => (turns += 1), 1);
    const ids = new Set();
    for (let at = 0; at < sent.length; at += 1) {
      const answer = await next();
      assert.ok(answer.result.content[0].text === text);
      ids.add(answer.id);
    }
    await Promise.all(sent);
    clearInterval(turning);
    assert.equal(ids.size, sent.length);
    assert.ok(turns > 0);
    assert.deepEqual(errors, []);
    await transport.close();
  });

  test('closing rejects what waits, and ends it once', async () => {
    const { transport, closed } = await connected(kern.path);
    let ends = 0;
    transport.onclose = ((tell) => () => tell((ends += 1)))(transport.onclose);
    const text = 'x'.repeat(8 << 20);
    const sends = [...Array(8).keys()].map((id) => transport.send(call(id, 'in__echo', { message: text })));
    await transport.close();
    const outcomes = await Promise.allSettled(sends);
    assert.match(outcomes.at(-1).reason.message, /closed/);
    await transport.close();
    await closed;
    await assert.rejects(transport.send(call(9, 'in__echo', { message: 'x' })), /not connected/);
    await assert.rejects(transport.start(), /already/);
    assert.equal(ends, 1);
  });

  test('a message that is no JSON-RPC is answered by kern, and the ring goes on', async () => {
    const { transport, next } = await connected(kern.path);
    await transport.send({ nonsense: true });
    assert.ok((await next()).error);
    await transport.send(call(1, 'in__echo', { message: 'on' }));
    assert.equal((await next()).id, 1);
    await transport.close();
  });
});

test('who is not there is said', async () => {
  await assert.rejects(new RingClientTransport('/nowhere/at/all').start(), /ENOENT/);
  await assert.rejects(new RingClientTransport(tmpdir()).start(), /system refused/);
  const nowhere = new RingClientTransport('/', { library: '/nowhere/lib.so' });
  await assert.rejects(nowhere.start(), /nowhere/);
});

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`the end of kern by ${signal} is seen`, { timeout: 60_000 }, async () => {
    const kern = await startKern();
    const { transport, closed, next } = await connected(kern.path);
    await transport.send(call(1, 'in__echo', { message: 'before' }));
    assert.equal((await next()).id, 1);
    await kern.stop(signal);
    await closed;
    await assert.rejects(transport.send(call(2, 'in__echo', { message: 'after' })), /not connected/);
  });
}
