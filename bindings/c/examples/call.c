/* Calls a tool of `kern serve --ring PATH` and prints the answer:
 *
 *     cc call.c -I../include -L../target/release -l:libkernmantle.a -lpthread -ldl -lm -o call
 *     ./call PATH NAME '{"key":"value"}'
 *
 * It speaks 2026-07-28, which needs no handshake.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernmantle.h"

static int fail(const char *what, kern_status status) {
    fprintf(stderr, "%s: %s", what, kern_status_text(status));
    if (status == KERN_SYSTEM) fprintf(stderr, " (%s)", strerror(errno));
    fputc('\n', stderr);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s PATH TOOL ARGUMENTS\n", argv[0]);
        return 2;
    }
    if (kern_abi() != KERNMANTLE_ABI) {
        fprintf(stderr, "libkernmantle has ABI %" PRIu32 ", not %d\n", kern_abi(), KERNMANTLE_ABI);
        return 2;
    }
    kern_ring *ring = NULL;
    kern_status status = kern_ring_connect(argv[1], &ring);
    if (status != KERN_OK) return fail(argv[1], status);

    static const char format[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{"
        "\"name\":\"%s\",\"arguments\":%s,\"_meta\":{"
        "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","
        "\"io.modelcontextprotocol/clientCapabilities\":{}}}}";
    int length = snprintf(NULL, 0, format, argv[2], argv[3]);
    char *request = malloc((size_t)length + 1);
    if (request == NULL) return fail("malloc", KERN_SYSTEM);
    snprintf(request, (size_t)length + 1, format, argv[2], argv[3]);
    status = kern_ring_send(ring, request, (size_t)length);
    free(request);

    const uint8_t *answer = NULL;
    size_t answer_length = 0;
    if (status == KERN_OK) status = kern_ring_recv(ring, 30000, &answer, &answer_length);
    if (status == KERN_OK) {
        fwrite(answer, 1, answer_length, stdout);
        fputc('\n', stdout);
    }
    kern_ring_close(ring);
    return status == KERN_OK ? 0 : fail("the call", status);
}
