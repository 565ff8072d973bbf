/* What `tests/c.rs` runs: a peer that uses every function of the header. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../include/kernmantle.h"

#define CHECK(what)                                                   \
    do {                                                              \
        if (!(what)) {                                                \
            fprintf(stderr, "line %d: %s\n", __LINE__, #what);        \
            exit(1);                                                  \
        }                                                             \
    } while (0)

/* What is wrong with a call is said, not crashed upon. */
static void misuse(void) {
    kern_ring *ring = NULL;
    const uint8_t *message;
    size_t length;
    CHECK(kern_ring_connect(NULL, &ring) == KERN_USAGE);
    CHECK(kern_ring_connect("/", NULL) == KERN_USAGE);
    CHECK(kern_ring_connect("/nowhere/at/all", &ring) == KERN_SYSTEM && errno == ENOENT);
    unsetenv("KERN_RING_FD");
    CHECK(kern_ring_from_env(&ring) == KERN_USAGE);
    CHECK(kern_ring_send(NULL, "x", 1) == KERN_USAGE);
    CHECK(kern_ring_push(NULL, "x", 1) == KERN_USAGE);
    CHECK(kern_ring_flush(NULL) == KERN_USAGE);
    CHECK(kern_ring_recv(NULL, 0, &message, &length) == KERN_USAGE);
    CHECK(kern_ring_arm(NULL) == KERN_USAGE);
    CHECK(kern_ring_finish(NULL) == KERN_USAGE);
    CHECK(kern_ring_recv_in_place(NULL, 0, &message, &length) == KERN_USAGE);
    CHECK(kern_ring_arm_to_push(NULL) == KERN_USAGE);
    CHECK(kern_ring_try_push(NULL, "x", 1, &length) == KERN_USAGE);
    CHECK(kern_ring_fd(NULL) == -1 && kern_ring_dup_fd(NULL) == -1);
    kern_ring_close(NULL);
    for (int status = -1; status < 8; status++) CHECK(kern_status_text(status)[0] != 0);
}

/* Pushes a message as an event loop does: what comes meanwhile waits. */
static void push(kern_ring *ring, const uint8_t *message, size_t length) {
    size_t put;
    CHECK(kern_ring_try_push(ring, message, length, &put) == KERN_OK);
    for (size_t done = put; done < length; done += put) {
        if (kern_ring_arm_to_push(ring) == KERN_OK) {
            struct pollfd wait = {.fd = kern_ring_fd(ring), .events = POLLIN};
            CHECK(poll(&wait, 1, 20000) == 1);
        }
        CHECK(kern_ring_try_push(ring, message + done, length - done, &put) == KERN_OK);
    }
}

/* Sends every message back until the other side ends; waits as an event loop does. */
static void echo(kern_ring *ring) {
    const uint8_t *message;
    size_t length;
    const int own = kern_ring_dup_fd(ring);
    CHECK(own >= 0 && own != kern_ring_fd(ring));
    CHECK(close(own) == 0);
    for (int turn = 0;; turn++) {
        kern_status status = turn % 2 ? kern_ring_recv_in_place(ring, 0, &message, &length)
                                      : kern_ring_recv(ring, 0, &message, &length);
        if (status == KERN_GONE) return;
        if (status == KERN_OK) {
            push(ring, message, length);
            continue;
        }
        CHECK(status == KERN_TIMED_OUT);
        CHECK(kern_ring_flush(ring) == KERN_OK);
        if (kern_ring_arm(ring) != KERN_OK) continue;
        struct pollfd wait = {.fd = kern_ring_fd(ring), .events = POLLIN};
        CHECK(poll(&wait, 1, 20000) == 1);
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 3 && kern_abi() == KERNMANTLE_ABI);
    kern_ring *ring = NULL;
    if (strcmp(argv[1], "server") == 0) {
        CHECK(kern_ring_from_env(&ring) == KERN_OK);
        echo(ring);
    } else {
        misuse();
        const uint8_t *message;
        size_t length;
        CHECK(kern_ring_connect(argv[2], &ring) == KERN_OK);
        CHECK(kern_ring_recv(ring, 20, &message, &length) == KERN_TIMED_OUT);
        CHECK(kern_ring_send(ring, "hello", 5) == KERN_OK);
        CHECK(kern_ring_recv(ring, -1, &message, &length) == KERN_OK);
        CHECK(length == 5 && memcmp(message, "hello", 5) == 0);
        CHECK(kern_ring_send(ring, NULL, 5) == KERN_USAGE);
        CHECK(kern_ring_finish(ring) == KERN_OK);
        CHECK(kern_ring_recv(ring, 20000, &message, &length) == KERN_GONE);
    }
    kern_ring_close(ring);
    return 0;
}
