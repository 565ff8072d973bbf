// Runs a plan (typescript_plan.mjs) with the TypeScript SDK, version 2.

import {
  Client,
  SSEClientTransport,
  StreamableHTTPClientTransport,
} from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { ABLE, ANSWERS, main, steps, transport } from "./typescript_plan.mjs";

const MODES = {
  legacy: undefined,
  auto: { mode: "auto" },
  modern: { mode: { pin: "2026-07-28" } },
};
const CLASSES = {
  Stdio: StdioClientTransport,
  Sse: SSEClientTransport,
  Http: StreamableHTTPClientTransport,
};
const WAYS = {
  paged: (cursor) => (cursor === undefined ? undefined : { cursor }),
  call: (client, params, options) => client.callTool(params, options),
};

await main(async (run) => {
  const capabilities = run.answers ? ABLE : {};
  const client = new Client(
    { name: "interop", version: "1.0.0" },
    { capabilities, versionNegotiation: MODES[run.era] },
  );
  if (run.answers) {
    Object.entries(ANSWERS).forEach(([method, answer]) => client.setRequestHandler(method, answer));
  }
  try {
    await client.connect(transport(run.connect, CLASSES));
    const revision = client.getNegotiatedProtocolVersion();
    const results = await steps(client, WAYS, run);
    return { revision, results };
  } finally {
    await client.close();
  }
});
