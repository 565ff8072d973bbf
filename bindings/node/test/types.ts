// Do both generations of the SDK take the transports as theirs? `tsc` says.

import type { Transport as Second } from '@modelcontextprotocol/client';
import type { Transport as First } from '@modelcontextprotocol/sdk/shared/transport.js';
import { RingClientTransport, RingServerTransport } from 'kernmantle';

export const first: First[] = [new RingClientTransport('/ring'), new RingServerTransport()];
export const second: Second[] = [new RingClientTransport('/ring', { library: '/lib.so' })];
