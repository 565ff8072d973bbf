// Calls a tool of `kern serve --ring PATH` and prints its answer:
//     KERNMANTLE_LIBRARY=… node examples/call.js PATH NAME '{"key":"value"}'

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { RingClientTransport } from 'kernmantle';

const [path, name, args = '{}'] = process.argv.slice(2);
const client = new Client({ name: 'example', version: '1.0.0' });
await client.connect(new RingClientTransport(path));
console.log(await client.callTool({ name, arguments: JSON.parse(args) }));
await client.close();
