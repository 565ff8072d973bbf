// Runs a plan with the TypeScript SDK, version 2.
//
// The plan (a file, JSON) says where to connect, in which era, and which requests to send; the
// answers go to stdout as JSON: {"revision": ..., "results": [...]}.

import { readFile } from "node:fs/promises";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const MODES = {
  legacy: undefined,
  auto: { mode: "auto" },
  modern: { mode: { pin: "2026-07-28" } },
};

function transport(where) {
  if (where.http) return new StreamableHTTPClientTransport(new URL(where.http));
  const [command, ...args] = where.stdio;
  return new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" });
}

async function tools(client) {
  const found = [];
  let cursor;
  do {
    const page = await client.listTools({ cursor });
    found.push(...page.tools);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return { tools: found };
}

async function step(client, method, params) {
  if (method === "tools/list") return tools(client);
  if (method === "tools/call") return client.callTool(params);
  if (method === "resources/read") return client.readResource(params);
  return client.getPrompt(params);
}

const plan = JSON.parse(await readFile(process.argv[2], "utf8"));
const client = new Client(
  { name: "interop", version: "1.0.0" },
  { versionNegotiation: MODES[plan.era] },
);
await client.connect(transport(plan.connect));
const revision = client.getNegotiatedProtocolVersion();
const results = [];
for (const { method, params } of plan.steps) {
  results.push(await step(client, method, params).catch((error) => ({ error: String(error) })));
}
await client.close();
console.log(JSON.stringify({ revision, results }));
