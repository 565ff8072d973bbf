// One echo tool on the TypeScript SDK, version 2: 2026-07-28, and 2025-11-25 without sessions.

import { createServer } from "node:http";
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import { toNodeHandler } from "@modelcontextprotocol/node";
import { z } from "zod";

const port = Number(process.argv[2]);
const inputSchema = z.object({ message: z.string() });
const description = "Answers with the message it was given.";

// The SDK wants a server for each request.
const handler = createMcpHandler(() => {
  const server = new McpServer({ name: "echo", version: "1" });
  server.registerTool("echo", { description, inputSchema }, ({ message }) => ({
    content: [{ type: "text", text: message }],
  }));
  return server;
});

const server = createServer(toNodeHandler(handler));
server.keepAliveTimeout = 300_000;
server.listen(port, "127.0.0.1");
