// A server that kern starts with `ring = true`.

import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { RingServerTransport } from 'kernmantle';
import { z } from 'zod';

const server = new McpServer({ name: 'node', version: '1.0.0' });
server.registerTool('double', { inputSchema: { text: z.string() } }, ({ text }) => ({
  content: [{ type: 'text', text: text + text }],
}));
await server.connect(new RingServerTransport());
