/* Kernmantle's shared-memory rings: MCP messages between processes without sockets.
 *
 * A client connects to `kern serve --ring PATH`; a server that kern started with `ring = true`
 * takes the ring it was given. One message is one JSON-RPC message, UTF-8, without a newline.
 *
 *     kern_ring *ring;
 *     if (kern_ring_connect("/run/user/1000/kern.ring", &ring) != KERN_OK) ...
 *     kern_ring_send(ring, text, length);
 *     const uint8_t *answer; size_t answer_length;
 *     if (kern_ring_recv(ring, 5000, &answer, &answer_length) == KERN_OK) ...
 *     kern_ring_close(ring);
 *
 * A ring is used by one thread at a time. Linux only. Link with libkernmantle.a (and -lpthread -ldl
 * where the C library wants them) or libkernmantle.so.
 */
#ifndef KERNMANTLE_H
#define KERNMANTLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a function changes in a way that old callers would notice. */
#define KERNMANTLE_ABI 1

typedef struct kern_ring kern_ring;

typedef enum kern_status {
    KERN_OK = 0,
    /* Nothing came in time, or nothing is there now; try again. */
    KERN_TIMED_OUT = 1,
    /* The other side ended. Connect again. */
    KERN_GONE = 2,
    /* The other side broke the protocol. Connect again. */
    KERN_FAULT = 3,
    /* The system refused; errno says why. */
    KERN_SYSTEM = 4,
    /* A null pointer, a path that is no path, or no ring was given to this process. */
    KERN_USAGE = 5
} kern_status;

/* In English, for people; never null. */
const char *kern_status_text(kern_status status);

/* KERNMANTLE_ABI of the library. */
uint32_t kern_abi(void);

/* Connects to the Unix socket that `kern serve --ring PATH` made. Waits a few seconds at most. */
kern_status kern_ring_connect(const char *path, kern_ring **ring);

/* Takes the ring of a server that was started with `ring = true` (KERN_RING_FD). Call it once. */
kern_status kern_ring_from_env(kern_ring **ring);

/* Sends one message; waits while the ring is full. */
kern_status kern_ring_send(kern_ring *ring, const void *message, size_t length);

/* Like kern_ring_send, but the other side is told by kern_ring_flush or the next wait: one wake for
 * several messages. */
kern_status kern_ring_push(kern_ring *ring, const void *message, size_t length);
kern_status kern_ring_flush(kern_ring *ring);

/* Puts as much of a message as there is room for, without waiting: *put says how many bytes. If that
 * is not all, the rest must be the next thing pushed or sent; see kern_ring_arm_to_push. */
kern_status kern_ring_try_push(kern_ring *ring, const void *message, size_t length, size_t *put);

/* Waits for the next message: timeout_ms at most, for ever if negative, not at all if 0. *message
 * belongs to the ring and is good until the next kern_ring_recv or kern_ring_close. KERN_GONE comes
 * after the last message. */
kern_status kern_ring_recv(kern_ring *ring, int64_t timeout_ms, const uint8_t **message,
                           size_t *length);

/* The same without a copy where the message came in one slab (8 KiB to 256 KiB): *message lies in
 * memory that the other side can write. Only for a program that trusts the other side, as a client may
 * trust its kern; whoever does not parses a copy. */
kern_status kern_ring_recv_in_place(kern_ring *ring, int64_t timeout_ms, const uint8_t **message,
                                    size_t *length);

/* For event loops: receive with timeout 0 until KERN_TIMED_OUT, then arm. KERN_OK: wait until
 * kern_ring_fd is readable. KERN_TIMED_OUT: something came meanwhile, receive again. */
kern_status kern_ring_arm(kern_ring *ring);

/* Like kern_ring_arm, when kern_ring_try_push has put a part: KERN_TIMED_OUT also if there is room
 * for more, and kern_ring_fd becomes readable when there is. */
kern_status kern_ring_arm_to_push(kern_ring *ring);

/* A descriptor to poll for reading, owned by the ring; -1 for a null ring. */
int kern_ring_fd(const kern_ring *ring);

/* The same descriptor once more, for event loops that close what they wait for: the caller closes it.
 * Such a loop may also read from it; what it reads means nothing but "receive". -1 for a null ring, or
 * where there are no more descriptors. */
int kern_ring_dup_fd(const kern_ring *ring);

/* Says that no more will be sent. Receiving goes on. */
kern_status kern_ring_finish(kern_ring *ring);

/* Ends the conversation and frees the ring. Null is allowed. */
void kern_ring_close(kern_ring *ring);

#ifdef __cplusplus
}
#endif

#endif
