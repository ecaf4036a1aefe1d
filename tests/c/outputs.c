/* Runs the embedded plan on twenty inputs of pseudo-random bytes and prints the hash of all outputs as they lie in the
 * arena: the inputs and the hash of runtime/core/examples/probe.rs. */
#include <stdio.h>
#include <stdlib.h>

#include "cygnet.h"

enum { RUNS = 20, ARENA_BYTES = 128 * 1024 };

extern const uint8_t plan_start[], plan_end[];
static CygnetPlan plan;
static CygnetSession session;
static uint8_t arena[ARENA_BYTES] __attribute__((aligned(CYGNET_ALIGNMENT)));

static void must(CygnetStatus status)
{
    if (status != CYGNET_STATUS_OK) {
        printf("%s\n", cygnet_status_text(status));
        exit(EXIT_FAILURE);
    }
}

int main(void)
{
    CygnetPlanFacts facts;
    CygnetTensor tensor;
    must(cygnet_plan_open(&plan, plan_start, (size_t)(plan_end - plan_start)));
    must(cygnet_plan_facts(&plan, &facts));
    must(cygnet_session_begin(&session, &plan, arena, sizeof arena));
    uint64_t hash = 0xcbf29ce484222325u, state = 99;
    for (int run = 0; run < RUNS; run++) {
        for (uint32_t index = 0; index < facts.inputs; index++) {
            void *stored;
            must(cygnet_plan_input(&plan, index, &tensor));
            must(cygnet_session_input_stored(&session, index, &stored));
            for (size_t i = 0; i < tensor.stored_bytes; i++) {
                state = state * 6364136223846793005u + 1442695040888963407u;
                ((uint8_t *)stored)[i] = (uint8_t)(state >> 56);
            }
        }
        must(cygnet_session_run(&session));
        for (uint32_t index = 0; index < facts.outputs; index++) {
            const void *stored;
            must(cygnet_plan_output(&plan, index, &tensor));
            must(cygnet_session_output_stored(&session, index, &stored));
            for (size_t i = 0; i < tensor.stored_bytes; i++)
                hash = (hash ^ ((const uint8_t *)stored)[i]) * 0x100000001b3u;
        }
    }
    must(cygnet_session_end(&session));
    must(cygnet_plan_close(&plan));
    printf("%08lx%08lx\n", (unsigned long)(hash >> 32), (unsigned long)(hash & 0xffffffffu));
    return EXIT_SUCCESS;
}
