// A ring as a transport of the official TypeScript SDK, of its first and its second generation.
//
// Invariants: nothing here blocks the event loop: a message that has to wait for room waits in a
// queue; the loop wakes by the ring's own descriptor and never polls. After `close`, or once the
// other side is gone, the ring's memory is never touched again, and `onclose` is called once.

import { stat } from 'node:fs/promises';
import { Socket } from 'node:net';

import { Status, library } from './library.js';

/** Messages taken before everybody else has a turn. */
const TURN_MESSAGES = 64;

class RingTransport {
  onclose;
  onerror;
  onmessage;
  sessionId;

  #library;
  #open;
  #started = false;
  #closed = false;
  #ring = null;
  #socket = null;
  // What there was no room for: { bytes, done, resolve, reject }, in their order.
  #queue = [];
  #flushing = false;
  #looking = false;

  constructor(path, open) {
    this.#library = () => library(path);
    this.#open = open;
  }

  async start() {
    if (this.#started) throw new Error('the ring has been started already');
    this.#started = true;
    const native = this.#library();
    const ring = await this.#open(native);
    const fd = this.#closed ? -1 : native.dupFd(ring);
    if (fd < 0) {
      native.close(ring);
      throw new Error(this.#closed ? 'the ring is closed' : 'no descriptor is left for the ring');
    }
    this.#library = native;
    this.#ring = ring;
    // What comes on the socket means "look", and its end that the other side is gone.
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.#socket.on('data', () => this.#look());
    this.#socket.on('error', () => this.#look());
    this.#socket.on('end', () => this.#look());
    this.#look();
  }

  /** Resolves when the whole message is in the ring. */
  send(message) {
    return new Promise((resolve, reject) => {
      if (this.#ring === null) throw new Error('the ring is not connected');
      this.#queue.push({ bytes: Buffer.from(JSON.stringify(message)), done: 0, resolve, reject });
      if (this.#queue.length > 1) return;
      try {
        this.#push();
        // The other side is told of all that is sent in this turn at once.
        if (!this.#flushing) {
          this.#flushing = true;
          queueMicrotask(() => this.#flush());
        }
        if (this.#queue.length > 0) this.#lookSoon();
      } catch (error) {
        this.#end(error);
      }
    });
  }

  async close() {
    this.#closed = true;
    this.#end();
  }

  #flush() {
    this.#flushing = false;
    if (this.#ring !== null) this.#library.flush(this.#ring);
  }

  /** Pushes what waits, as far as there is room. */
  #push() {
    while (this.#queue.length > 0) {
      const first = this.#queue[0];
      first.done += this.#library.push(this.#ring, first.bytes.subarray(first.done));
      if (first.done < first.bytes.length) return;
      this.#queue.shift();
      first.resolve();
    }
  }

  #lookSoon() {
    if (this.#looking) return;
    this.#looking = true;
    setImmediate(() => {
      this.#looking = false;
      this.#look();
    });
  }

  /** Takes what came, pushes what waits, and arms the wake for more. */
  #look() {
    try {
      for (let taken = 0; taken < TURN_MESSAGES; taken += 1) {
        if (this.#ring === null) return;
        const { status, text } = this.#library.receive(this.#ring);
        if (status === Status.Ok) {
          this.#take(text);
          continue;
        }
        if (status === Status.Gone) return this.#end();
        if (status !== Status.TimedOut) this.#library.check(status, 'the ring');
        this.#push();
        const waits = this.#queue.length > 0;
        const arm = waits ? this.#library.armToPush : this.#library.arm;
        const armed = arm(this.#ring);
        if (armed === Status.Ok) return;
        if (armed !== Status.TimedOut) this.#library.check(armed, 'the ring');
      }
      this.#lookSoon();
    } catch (error) {
      this.#end(error);
    }
  }

  #take(text) {
    try {
      this.onmessage?.(JSON.parse(text));
    } catch (error) {
      this.onerror?.(error);
    }
  }

  #end(error) {
    if (this.#ring === null) return;
    const ring = this.#ring;
    this.#ring = null;
    this.#socket.destroy();
    this.#library.close(ring);
    if (error !== undefined) this.onerror?.(error);
    const gone = new Error('the ring is closed', { cause: error });
    for (const { reject } of this.#queue.splice(0)) reject(gone);
    this.onclose?.();
  }
}

/** A client of `kern serve --ring PATH`. */
export class RingClientTransport extends RingTransport {
  constructor(path, { library: from } = {}) {
    super(from, async (native) => {
      // Says what is wrong with the path better than the library can.
      await stat(path);
      return native.connect(path);
    });
  }
}

/** A server that kern started with `ring = true`. Only one in a process, and nobody reads stdin. */
export class RingServerTransport extends RingTransport {
  constructor({ library: from } = {}) {
    super(from, async (native) => native.fromEnv());
  }
}
