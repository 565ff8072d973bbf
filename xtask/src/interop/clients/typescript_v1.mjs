// Runs a plan (typescript_plan.mjs) with the TypeScript SDK, version 1.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { ABLE, ANSWERS, main, steps, transport } from "./typescript_plan.mjs";

const CLASSES = {
  Stdio: StdioClientTransport,
  Sse: SSEClientTransport,
  Http: StreamableHTTPClientTransport,
};
const WAYS = {
  paged: (cursor) => ({ cursor }),
  call: (client, params, options) => client.callTool(params, undefined, options),
};

await main(async (run) => {
  const capabilities = run.answers ? ABLE : {};
  const client = new Client({ name: "interop", version: "1.0.0" }, { capabilities });
  if (run.answers) {
    client.setRequestHandler(ElicitRequestSchema, ANSWERS["elicitation/create"]);
    client.setRequestHandler(CreateMessageRequestSchema, ANSWERS["sampling/createMessage"]);
    client.setRequestHandler(ListRootsRequestSchema, ANSWERS["roots/list"]);
  }
  let revision;
  const over = transport(run.connect, CLASSES);
  const told = over.setProtocolVersion?.bind(over);
  over.setProtocolVersion = (version) => {
    revision = version;
    told?.(version);
  };
  try {
    await client.connect(over);
    const results = await steps(client, WAYS, run);
    return { revision, results };
  } finally {
    await client.close();
  }
});
