// The C library (bindings/c) as JavaScript calls it.
//
// Invariants: a pointer to a ring is used only until `close`; what `receive` gives is a copy.

import koffi from 'koffi';

/** `kern_status` of kernmantle.h. */
export const Status = Object.freeze({ Ok: 0, TimedOut: 1, Gone: 2, Fault: 3, System: 4, Usage: 5 });

/** `KERNMANTLE_ABI` of the header these declarations were written for. */
const ABI = 1;

const loaded = new Map();

/** The library at `path`, or where the system and KERNMANTLE_LIBRARY say. Loaded once. */
export function library(path = process.env.KERNMANTLE_LIBRARY ?? 'libkernmantle.so') {
  if (!loaded.has(path)) loaded.set(path, load(path));
  return loaded.get(path);
}

function opened(path) {
  try {
    return koffi.load(path);
  } catch (cause) {
    throw new Error(`cannot load ${path}: ${cause.message}`, { cause });
  }
}

function load(path) {
  const native = opened(path);
  const abi = native.func('uint32_t kern_abi()')();
  if (abi !== ABI) throw new Error(`${path} has ABI ${abi}, not ${ABI}`);
  const connect = native.func('int kern_ring_connect(const char *path, _Out_ void **ring)');
  const fromEnv = native.func('int kern_ring_from_env(_Out_ void **ring)');
  const statusText = native.func('const char *kern_status_text(int status)');
  const tryPush = native.func(
    'int kern_ring_try_push(void *ring, const uint8_t *message, size_t length, _Out_ size_t *put)',
  );
  const receive = native.func(
    'int kern_ring_recv(void *ring, int64_t timeout_ms, _Out_ void **message, _Out_ size_t *length)',
  );

  /** @throws what the library says of `status`. */
  const check = (status, what) => {
    if (status === Status.Ok) return;
    const code = status === Status.System ? ` (errno ${koffi.errno()})` : '';
    throw new Error(`${what}: ${statusText(status)}${code}`);
  };

  return {
    check,

    /** Connects in a thread of the pool: the handing over may take a while. */
    async connect(path) {
      const ring = [null];
      const status = await new Promise((resolve, reject) => {
        connect.async(path, ring, (error, status) => (error ? reject(error) : resolve(status)));
      });
      check(status, path);
      return ring[0];
    },

    fromEnv() {
      const ring = [null];
      check(fromEnv(ring), 'KERN_RING_FD');
      return ring[0];
    },

    /** How many bytes of `bytes` there was room for. */
    push(ring, bytes) {
      const put = [0];
      check(tryPush(ring, bytes, bytes.length, put), 'the ring');
      return Number(put[0]);
    },

    /** The next message's text, or the status that says why there is none. */
    receive(ring) {
      const message = [null];
      const length = [0];
      const status = receive(ring, 0, message, length);
      if (status !== Status.Ok) return { status };
      const bytes = koffi.decode(message[0], 'uint8_t', Number(length[0]));
      return { status, text: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString() };
    },

    flush: native.func('int kern_ring_flush(void *ring)'),
    arm: native.func('int kern_ring_arm(void *ring)'),
    armToPush: native.func('int kern_ring_arm_to_push(void *ring)'),
    dupFd: native.func('int kern_ring_dup_fd(void *ring)'),
    close: native.func('void kern_ring_close(void *ring)'),
  };
}
