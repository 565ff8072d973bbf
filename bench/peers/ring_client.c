/* Asks an echo tool over a ring from C, and checks every answer.
 *
 *     ring_client RING TOOL IN_FLIGHT WARM_UP_MS DURATION_MS TEXT_BYTES
 *
 * It says `counting` when the warm-up is over; at the end how many requests were answered in how many
 * µs, and the 50th, 99th, 99.9th and 100th percentile of theirs; then it waits for the end of stdin.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernmantle.h"

#define CHECK(what)                                                \
    do {                                                           \
        if (!(what)) {                                             \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #what); \
            exit(1);                                               \
        }                                                          \
    } while (0)

/* Requests that can be in flight, and latencies that can be kept: later ones are not. */
#define PLACES 64
#define TIMES (8u << 20)

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* One request, whose number is the id and begins the text. */
typedef struct {
    char *text;
    size_t length, id_at, text_at;
    int64_t sent_ns;
} question;

static void prepare(question *question, const char *tool, int text_bytes) {
    static const char format[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1000000000,\"method\":\"tools/call\",\"params\":{"
        "\"name\":\"%s\",\"arguments\":{\"message\":\"1000000000%.*s\"},\"_meta\":{"
        "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","
        "\"io.modelcontextprotocol/clientInfo\":{\"name\":\"c\",\"version\":\"1\"},"
        "\"io.modelcontextprotocol/clientCapabilities\":{}}}}";
    CHECK(text_bytes >= 10);
    char *filling = malloc((size_t)text_bytes);
    CHECK(filling != NULL);
    memset(filling, 'a', (size_t)text_bytes);
    int length = asprintf(&question->text, format, tool, text_bytes - 10, filling);
    free(filling);
    CHECK(length > 0);
    question->length = (size_t)length;
    question->id_at = (size_t)(strstr(question->text, "1000000000") - question->text);
    question->text_at = (size_t)(strstr(question->text, "\"1000000000") + 1 - question->text);
}

static void ask(kern_ring *ring, question *question, uint32_t number) {
    char digits[11];
    snprintf(digits, sizeof digits, "%010" PRIu32, number);
    memcpy(question->text + question->id_at, digits, 10);
    memcpy(question->text + question->text_at, digits, 10);
    question->sent_ns = now_ns();
    CHECK(kern_ring_push(ring, question->text, question->length) == KERN_OK);
}

/* Whether `answer` carries the question's id and its text. */
static int right(const question *question, const uint8_t *answer, size_t length, int text_bytes) {
    char id[16];
    snprintf(id, sizeof id, "\"id\":%.10s", question->text + question->id_at);
    return memmem(answer, length, id, strlen(id)) != NULL &&
           memmem(answer, length, question->text + question->text_at, (size_t)text_bytes) != NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 7 && kern_abi() == KERNMANTLE_ABI);
    const int in_flight = atoi(argv[3]), text_bytes = atoi(argv[6]);
    CHECK(in_flight >= 1 && in_flight <= PLACES);
    kern_ring *ring = NULL;
    CHECK(kern_ring_connect(argv[1], &ring) == KERN_OK);

    /* A number says by its remainder which question it belongs to. */
    static question questions[PLACES];
    uint32_t number = 1000000000 - 1000000000 % PLACES;
    for (int at = 0; at < in_flight; at++) {
        prepare(&questions[at], argv[2], text_bytes);
        ask(ring, &questions[at], number + (uint32_t)at);
    }
    uint32_t *times = malloc(TIMES * sizeof *times);
    CHECK(times != NULL);
    uint64_t requests = 0;
    const int64_t start = now_ns() + atoll(argv[4]) * 1000000;
    const int64_t end = start + atoll(argv[5]) * 1000000;
    int counting = 0;
    int64_t now = 0, since = 0;
    while (now < end) {
        const uint8_t *answer;
        size_t length;
        CHECK(kern_ring_recv(ring, 30000, &answer, &length) == KERN_OK);
        do {
            const char *id = memmem(answer, length, "\"id\":", 5);
            CHECK(id != NULL);
            question *one = &questions[strtoul(id + 5, NULL, 10) % PLACES];
            CHECK(one->text != NULL && right(one, answer, length, text_bytes));
            now = now_ns();
            if (counting) {
                int64_t took = now - one->sent_ns;
                if (requests < TIMES) times[requests] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
                requests++;
            }
            number += PLACES;
            ask(ring, one, number + (uint32_t)(one - questions));
        } while (kern_ring_recv(ring, 0, &answer, &length) == KERN_OK);
        CHECK(kern_ring_flush(ring) == KERN_OK);
        if (!counting && now >= start) {
            counting = 1;
            since = now;
            puts("counting");
            fflush(stdout);
        }
    }
    CHECK(requests > 0);
    size_t kept = requests < TIMES ? requests : TIMES;
    qsort(times, kept, sizeof *times, by_size);
    printf("%" PRIu64 " %.1f", requests, (double)(now - since) / 1000.0);
    static const double quantiles[] = {0.5, 0.99, 0.999, 1.0};
    for (int at = 0; at < 4; at++) {
        size_t place = (size_t)((double)kept * quantiles[at]);
        printf(" %.2f", times[place < kept ? place : kept - 1] / 1000.0);
    }
    putchar('\n');
    fflush(stdout);
    while (getchar() != EOF) {}
    kern_ring_close(ring);
    free(times);
    return 0;
}
