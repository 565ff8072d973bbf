// Runs a plan with the TypeScript SDK, version 1.
//
// The plan (a file, JSON) says where to connect and which requests to send; the answers go to
// stdout as JSON: {"revision": ..., "results": [...]}.

import { readFile } from "node:fs/promises";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

function transport(where) {
  if (where.http) return new StreamableHTTPClientTransport(new URL(where.http));
  if (where.sse) return new SSEClientTransport(new URL(where.sse));
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
const client = new Client({ name: "interop", version: "1.0.0" });
let revision;
const over = transport(plan.connect);
const told = over.setProtocolVersion?.bind(over);
over.setProtocolVersion = (version) => {
  revision = version;
  told?.(version);
};
await client.connect(over);
const results = [];
for (const { method, params } of plan.steps) {
  results.push(await step(client, method, params).catch((error) => ({ error: String(error) })));
}
await client.close();
console.log(JSON.stringify({ revision, results }));
