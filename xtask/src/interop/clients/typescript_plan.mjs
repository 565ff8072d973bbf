// What the clients on a TypeScript SDK have in common: how a plan is read, run and answered.
//
// The plan (a file, JSON) lists runs: where to connect, in which era, whether to answer what servers
// ask, and the requests to send. Each run prints one line of JSON:
// {"id": ..., "revision": ..., "results": [...]}, or {"id": ..., "failed": ...}.

import { readFile } from "node:fs/promises";
import { Agent, fetch as undiciFetch } from "undici";

const RUN_MS = 150_000;
const START_S = 60;

// What a user fills in, what a model says, what a client shows.
export const ANSWERS = {
  "elicitation/create": () => ({
    action: "accept",
    content: { name: "Ada", check: true, integer: 7, untitledSingleSelectEnum: "Ross" },
  }),
  "sampling/createMessage": () => ({
    role: "assistant",
    model: "rope",
    stopReason: "endTurn",
    content: { type: "text", text: "a double fisherman's bend" },
  }),
  "roots/list": () => ({ roots: [{ uri: "file:///rope", name: "rope" }] }),
};
export const ABLE = { elicitation: {}, sampling: {}, roots: {} };

// The transport to where a run connects, of the classes of one SDK.
export function transport(to, { Stdio, Sse, Http }) {
  if (to.stdio) {
    const [command, ...args] = to.stdio;
    const env = { ...process.env, ...to.env };
    return new Stdio({ command, args, env, stderr: "inherit" });
  }
  if (to.sse) return new Sse(new URL(to.sse));
  const options = {};
  if (to.unix) {
    const dispatcher = new Agent({ connect: { socketPath: to.unix } });
    options.fetch = (url, init) => undiciFetch(url, { ...init, dispatcher });
  }
  return new Http(new URL(to.http), options);
}

async function drain(ask, member) {
  const found = [];
  let cursor;
  do {
    const page = await ask(cursor);
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

// Sends one request; `paged` is what an SDK takes for a cursor, `call` how it calls a tool.
async function step(client, { paged, call }, { method, params, progress, until }) {
  const list = (ask, member) => drain((cursor) => ask.call(client, paged(cursor)), member);
  if (method === "tools/list") return patient(() => list(client.listTools, "tools"), until);
  if (method === "prompts/list") return list(client.listPrompts, "prompts");
  if (method === "resources/list") return list(client.listResources, "resources");
  if (method === "resources/templates/list") {
    return list(client.listResourceTemplates, "resourceTemplates");
  }
  if (method === "resources/read") return client.readResource(params);
  if (method === "prompts/get") return client.getPrompt(params);
  if (!progress) return client.callTool(params);
  const heard = [];
  const onprogress = (one) => heard.push([one.progress, one.total]);
  return { ...(await call(client, params, { onprogress })), progress: heard };
}

// The results of all steps.
export async function steps(client, ways, run) {
  const results = [];
  for (const one of run.steps) {
    results.push(await step(client, ways, one).catch((error) => ({ error: String(error) })));
  }
  return results;
}

export async function main(perform) {
  const late = () => new Promise((_, reject) => setTimeout(reject, RUN_MS, `over ${RUN_MS} ms`));
  const plan = JSON.parse(await readFile(process.argv[2], "utf8"));
  for (const run of plan.runs) {
    const line = await Promise.race([perform(run), late()]).catch((error) => ({
      failed: String(error),
    }));
    console.log(JSON.stringify({ id: run.id, ...line }));
  }
  process.exit(0);
}
