/** Where the C library is; else KERNMANTLE_LIBRARY says, else the system looks for libkernmantle.so. */
export interface RingOptions {
  library?: string;
}

/** What both generations of the official SDK ask of a transport. */
declare class RingTransport {
  /** Connects. The SDK's own `connect` calls it. */
  start(): Promise<void>;
  /** Resolves when the whole message is in the ring; rejects if the ring is closed before. */
  send(message: object, options?: object): Promise<void>;
  close(): Promise<void>;
  /** Called once: after `close`, or when the other side is gone. */
  onclose: (() => void) | undefined;
  onerror: ((error: Error) => void) | undefined;
  onmessage: ((message: any, extra?: any) => void) | undefined;
  sessionId: string | undefined;
}

/** A client of `kern serve --ring PATH`. */
export class RingClientTransport extends RingTransport {
  constructor(path: string, options?: RingOptions);
}

/** A server that kern started with `ring = true`. Only one in a process, and nobody reads stdin. */
export class RingServerTransport extends RingTransport {
  constructor(options?: RingOptions);
}
