// Runs a plan with the TypeScript SDK, version 2.
//
// The plan (a file, JSON) lists runs: where to connect, in which era, whether to answer what servers
// ask, and the requests to send. Each run prints one line of JSON:
// {"id": ..., "revision": ..., "results": [...]}, or {"id": ..., "failed": ...}.

import { readFile } from "node:fs/promises";
import { Agent, fetch as undiciFetch } from "undici";
import {
  Client,
  SSEClientTransport,
  StreamableHTTPClientTransport,
} from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const RUN_MS = 150_000;
const START_S = 60;
const MODES = {
  legacy: undefined,
  auto: { mode: "auto" },
  modern: { mode: { pin: "2026-07-28" } },
};

function transport(to) {
  if (to.stdio) {
    const [command, ...args] = to.stdio;
    const env = { ...process.env, ...to.env };
    return new StdioClientTransport({ command, args, env, stderr: "inherit" });
  }
  if (to.sse) return new SSEClientTransport(new URL(to.sse));
  const options = {};
  if (to.unix) {
    const dispatcher = new Agent({ connect: { socketPath: to.unix } });
    options.fetch = (url, init) => undiciFetch(url, { ...init, dispatcher });
  }
  return new StreamableHTTPClientTransport(new URL(to.http), options);
}

function answering(client) {
  client.setRequestHandler("elicitation/create", () => ({
    action: "accept",
    content: { name: "Ada", check: true, integer: 7, untitledSingleSelectEnum: "Ross" },
  }));
  client.setRequestHandler("sampling/createMessage", () => ({
    role: "assistant",
    model: "rope",
    stopReason: "endTurn",
    content: { type: "text", text: "a double fisherman's bend" },
  }));
  client.setRequestHandler("roots/list", () => ({
    roots: [{ uri: "file:///rope", name: "rope" }],
  }));
}

async function drain(ask, member) {
  const found = [];
  let cursor;
  do {
    const page = await ask(cursor === undefined ? undefined : { cursor });
    found.push(...page[member]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return { [member]: found };
}

// Lists until the tool is there: a server of the client's own may still be starting.
async function patient(list, name) {
  let found;
  for (let waited = 0; waited < START_S; waited += 1) {
    found = await list();
    if (found.tools.some((tool) => tool.name.endsWith(name))) break;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  return found;
}

async function step(client, { method, params, progress, until }) {
  if (method === "tools/list") {
    return patient(() => drain((page) => client.listTools(page), "tools"), until);
  }
  if (method === "prompts/list") return drain((page) => client.listPrompts(page), "prompts");
  if (method === "resources/list") return drain((page) => client.listResources(page), "resources");
  if (method === "resources/templates/list") {
    return drain((page) => client.listResourceTemplates(page), "resourceTemplates");
  }
  if (method === "resources/read") return client.readResource(params);
  if (method === "prompts/get") return client.getPrompt(params);
  if (!progress) return client.callTool(params);
  const heard = [];
  const onprogress = (one) => heard.push([one.progress, one.total]);
  return { ...(await client.callTool(params, { onprogress })), progress: heard };
}

async function perform(run) {
  const capabilities = run.answers ? { elicitation: {}, sampling: {}, roots: {} } : {};
  const client = new Client(
    { name: "interop", version: "1.0.0" },
    { capabilities, versionNegotiation: MODES[run.era] },
  );
  if (run.answers) answering(client);
  try {
    await client.connect(transport(run.connect));
    const revision = client.getNegotiatedProtocolVersion();
    const results = [];
    for (const one of run.steps) {
      results.push(await step(client, one).catch((error) => ({ error: String(error) })));
    }
    return { revision, results };
  } finally {
    await client.close();
  }
}

const late = () => new Promise((_, reject) => setTimeout(reject, RUN_MS, `over ${RUN_MS} ms`));
const plan = JSON.parse(await readFile(process.argv[2], "utf8"));
for (const run of plan.runs) {
  const line = await Promise.race([perform(run), late()]).catch((error) => ({
    failed: String(error),
  }));
  console.log(JSON.stringify({ id: run.id, ...line }));
}
process.exit(0);
