/* Sessions in threads: two that share a plan give what one alone gives, and of two threads in the same session each is
 * served or told that it is busy. Called with a plan. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cygnet.h"

enum { RUNS = 200, THREADS = 2 };

static CygnetPlan plan;
static CygnetPlanFacts facts;
static CygnetTensor input, output;

struct worker {
    CygnetSession *session;
    uint8_t *answer;
    int busy, other;
};

static void must(CygnetStatus status)
{
    if (status != CYGNET_STATUS_OK) {
        printf("%s\n", cygnet_status_text(status));
        exit(EXIT_FAILURE);
    }
}

static void *memory(size_t bytes)
{
    void *found;
    if (posix_memalign(&found, CYGNET_ALIGNMENT, bytes) != 0)
        exit(EXIT_FAILURE);
    return memset(found, 0, bytes);
}

static float *numbers(void)
{
    float *values = memory(input.elements * sizeof *values);
    for (size_t i = 0; i < input.elements; i++)
        values[i] = (float)(i * 7 % 31) / 31.0f;
    return values;
}

/* Begins, runs and ends a session of its own, again and again. */
static void *alone(void *argument)
{
    struct worker *worker = argument;
    void *arena = memory(facts.arena_bytes);
    float *values = numbers();
    for (int run = 0; run < RUNS; run++) {
        must(cygnet_session_begin(worker->session, &plan, arena, facts.arena_bytes));
        must(cygnet_session_write_f32(worker->session, 0, values, input.elements));
        must(cygnet_session_run(worker->session));
        must(cygnet_session_read_bytes(worker->session, 0, worker->answer, output.bytes));
        must(cygnet_session_end(worker->session));
    }
    free(values);
    free(arena);
    return NULL;
}

/* Works with a session that others work with: what nobody may do. */
static void *together(void *argument)
{
    struct worker *worker = argument;
    for (int run = 0; run < RUNS; run++) {
        CygnetStatus status = cygnet_session_run(worker->session);
        worker->busy += status == CYGNET_STATUS_BUSY;
        worker->other += status != CYGNET_STATUS_BUSY && status != CYGNET_STATUS_OK;
    }
    return NULL;
}

static void in_threads(void *(*work)(void *), struct worker *workers)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
            exit(EXIT_FAILURE);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    must(cygnet_plan_load(&plan, argv[1]));
    must(cygnet_plan_facts(&plan, &facts));
    must(cygnet_plan_input(&plan, 0, &input));
    must(cygnet_plan_output(&plan, 0, &output));

    static CygnetSession sessions[THREADS + 1];
    struct worker workers[THREADS + 1] = {{0}};
    for (int i = 0; i <= THREADS; i++) {
        workers[i].session = &sessions[i];
        workers[i].answer = memory(output.bytes);
    }
    alone(&workers[THREADS]);
    in_threads(alone, workers);
    int failures = 0;
    for (int i = 0; i < THREADS; i++)
        failures += memcmp(workers[i].answer, workers[THREADS].answer, output.bytes) != 0;

    void *arena = memory(facts.arena_bytes);
    must(cygnet_session_begin(&sessions[0], &plan, arena, facts.arena_bytes));
    workers[1].session = &sessions[0];
    in_threads(together, workers);
    failures += workers[0].other + workers[1].other;
    must(cygnet_session_run(&sessions[0]));
    must(cygnet_session_end(&sessions[0]));
    must(cygnet_plan_close(&plan));
    printf("%d sessions side by side; %d calls of %d into a busy one refused; %d failures\n", THREADS,
           workers[0].busy + workers[1].busy, THREADS * RUNS, failures);
    for (int i = 0; i <= THREADS; i++)
        free(workers[i].answer);
    free(arena);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
