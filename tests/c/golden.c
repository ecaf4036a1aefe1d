/* Compares outputs, byte for byte, with those of onnxruntime: golden PLAN.cyg FOLDER, with in.NAME.npy and
 * out.NAME.npy for all inputs and outputs. Inputs of whole numbers refuse real ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cygnet.h"

static CygnetPlan plan;
static CygnetSession session;

static void expect(CygnetStatus expected, CygnetStatus found, int line)
{
    if (found != expected) {
        printf("line %d: expected %d, got %d (%s)\n", line, (int)expected, (int)found, cygnet_status_text(found));
        exit(EXIT_FAILURE);
    }
}
#define MUST(call) expect(CYGNET_STATUS_OK, call, __LINE__)

static void *memory(size_t bytes)
{
    void *found = malloc(bytes ? bytes : 1);
    if (!found)
        exit(EXIT_FAILURE);
    return found;
}

/* The elements at the end of FOLDER/KIND.NAME.npy. */
static uint8_t *elements(const char *folder, const char *kind, const CygnetTensor *tensor)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%.*s.npy", folder, kind, (int)tensor->name.length, tensor->name.bytes);
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = memory(tensor->bytes);
    if (!file || fseek(file, -(long)tensor->bytes, SEEK_END) != 0 ||
        fread(bytes, 1, tensor->bytes, file) != tensor->bytes) {
        printf("%s cannot be read\n", path);
        exit(EXIT_FAILURE);
    }
    fclose(file);
    return bytes;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    CygnetPlanFacts facts;
    CygnetTensor tensor;
    MUST(cygnet_plan_load(&plan, argv[1]));
    MUST(cygnet_plan_facts(&plan, &facts));
    uint8_t *room = memory(facts.arena_bytes + CYGNET_ALIGNMENT);
    uint8_t *arena = room + (CYGNET_ALIGNMENT - (uintptr_t)room % CYGNET_ALIGNMENT);
    if (facts.needs_fallback) {
        expect(CYGNET_STATUS_NEEDS_FALLBACK, cygnet_session_begin(&session, &plan, arena, facts.arena_bytes), __LINE__);
        MUST(cygnet_plan_close(&plan));
        free(room);
        printf("%s: refused, as it needs the fallback\n", argv[1]);
        return EXIT_SUCCESS;
    }
    MUST(cygnet_session_begin(&session, &plan, arena, facts.arena_bytes));
    for (uint32_t index = 0; index < facts.inputs; index++) {
        MUST(cygnet_plan_input(&plan, index, &tensor));
        if (tensor.element_type != CYGNET_TYPE_FLOAT32) {
            float *real = memory(tensor.elements * sizeof *real);
            memset(real, 0, tensor.elements * sizeof *real);
            CygnetStatus status = cygnet_session_write_f32(&session, index, real, tensor.elements);
            expect(CYGNET_STATUS_ELEMENT_TYPE, status, __LINE__);
            free(real);
        }
        uint8_t *bytes = elements(argv[2], "in", &tensor);
        MUST(cygnet_session_write_bytes(&session, index, bytes, tensor.bytes));
        free(bytes);
    }
    MUST(cygnet_session_run(&session));
    size_t compared = 0;
    for (uint32_t index = 0; index < facts.outputs; index++) {
        MUST(cygnet_plan_output(&plan, index, &tensor));
        uint8_t *wanted = elements(argv[2], "out", &tensor), *found = memory(tensor.bytes);
        MUST(cygnet_session_read_bytes(&session, index, found, tensor.bytes));
        for (size_t at = 0; at < tensor.bytes; at++, compared++)
            if (wanted[at] != found[at]) {
                printf("%s: byte %lu of %.*s is %d, not %d\n", argv[1], (unsigned long)at, (int)tensor.name.length,
                       tensor.name.bytes, found[at], wanted[at]);
                return EXIT_FAILURE;
            }
        free(wanted);
        free(found);
    }
    MUST(cygnet_session_end(&session));
    MUST(cygnet_plan_close(&plan));
    free(room);
    printf("%s: %lu bytes as onnxruntime has them\n", argv[1], (unsigned long)compared);
    return EXIT_SUCCESS;
}
