// One echo tool on the TypeScript SDK, version 1 (2025-11-25), with sessions and JSON answers.

import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { z } from "zod";

const port = Number(process.argv[2]);
const sessions = new Map();

function echoing() {
  const server = new McpServer({ name: "echo", version: "1" });
  const inputSchema = { message: z.string() };
  const description = "Answers with the message it was given.";
  server.registerTool("echo", { description, inputSchema }, ({ message }) => ({
    content: [{ type: "text", text: message }],
  }));
  return server;
}

async function open() {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    enableJsonResponse: true,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  transport.onclose = () => sessions.delete(transport.sessionId);
  await echoing().connect(transport);
  return transport;
}

const server = createServer(async (request, response) => {
  const known = sessions.get(request.headers["mcp-session-id"]);
  const transport = known ?? (await open());
  await transport.handleRequest(request, response);
});
server.keepAliveTimeout = 300_000;
server.listen(port, "127.0.0.1");
