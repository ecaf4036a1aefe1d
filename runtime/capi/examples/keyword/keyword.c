/* Spots a spoken word on a Cortex-M, or anywhere: the plan and a recording are part of the program, all memory is
 * static.
 *
 * main() is the whole of it; startup.c and mps2-an386.ld are what an Arm MPS2 board (or QEMU) needs besides, embed.S
 * puts the two files into flash. runtime/capi/examples/keyword/build makes all of it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cygnet.h"

/* What `quantize compile` prints for the plan; checked at the start. */
#ifndef ARENA_BYTES
#define ARENA_BYTES 47152
#endif
#define LABELS 16
/* Room for a second at 16 kHz brought to 8 kHz: 4000 numbers for the samples, 1778 for the resampler. */
#define SCRATCH_NUMBERS 8192

extern const uint8_t plan_start[], plan_end[];
extern const uint8_t sound_start[], sound_end[];

static CygnetPlan plan;
static CygnetSession session;
static uint8_t arena[ARENA_BYTES] __attribute__((aligned(CYGNET_ALIGNMENT)));
static float scratch[SCRATCH_NUMBERS];
static float probabilities[LABELS];

static void must(CygnetStatus status, const char *doing)
{
    if (status != CYGNET_STATUS_OK) {
        printf("%s: %s\n", doing, cygnet_status_text(status));
        exit(EXIT_FAILURE);
    }
}

static uint32_t little_endian(const uint8_t *bytes, int count)
{
    uint32_t number = 0;
    while (count-- > 0)
        number = number << 8 | bytes[count];
    return number;
}

/* Finds the samples of a 16-bit mono WAV file. */
static const int16_t *wav_samples(const uint8_t *file, size_t length, size_t *count, uint32_t *rate)
{
    *rate = 0;
    for (size_t at = 12; at + 8 <= length;) {
        const uint8_t *chunk = file + at;
        size_t bytes = little_endian(chunk + 4, 4);
        if (bytes > length - at - 8)
            break;
        if (chunk[0] == 'f' && bytes >= 16 && little_endian(chunk + 10, 2) == 1 && little_endian(chunk + 22, 2) == 16)
            *rate = little_endian(chunk + 12, 4);
        if (chunk[0] == 'd' && *rate != 0) {
            *count = bytes / sizeof(int16_t);
            return (const int16_t *)(const void *)(chunk + 8); /* embed.S aligns the file, chunks are of even length */
        }
        at += 8 + bytes + bytes % 2;
    }
    return NULL;
}

/* FNV-1a of what lies in the arena as output 0: the same on every machine. */
static uint64_t output_hash(void)
{
    CygnetTensor output;
    const void *stored;
    must(cygnet_plan_output(&plan, 0, &output), "output");
    must(cygnet_session_output_stored(&session, 0, &stored), "output");
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < output.stored_bytes; i++)
        hash = (hash ^ ((const uint8_t *)stored)[i]) * 0x100000001b3u;
    return hash;
}

int main(void)
{
    if (cygnet_abi_version() != CYGNET_ABI_VERSION) {
        printf("libcygnet and cygnet.h are of different versions\n");
        return EXIT_FAILURE;
    }
    CygnetPlanFacts facts;
    must(cygnet_plan_open(&plan, plan_start, (size_t)(plan_end - plan_start)), "plan");
    must(cygnet_plan_facts(&plan, &facts), "plan");
    printf("%.*s: plan %lu bytes in flash, arena %lu bytes\n", (int)facts.name.length, facts.name.bytes,
           (unsigned long)facts.plan_bytes, (unsigned long)facts.arena_bytes);
    must(cygnet_session_begin(&session, &plan, arena, sizeof arena), "session");

    size_t count, needed;
    uint32_t rate;
    const int16_t *samples = wav_samples(sound_start, (size_t)(sound_end - sound_start), &count, &rate);
    if (!samples) {
        printf("the recording is no WAV file of 16 bits, mono\n");
        return EXIT_FAILURE;
    }
    must(cygnet_sound_scratch(&plan, 0, count, rate, &needed), "sound");
    if (facts.labels > LABELS || needed > SCRATCH_NUMBERS) {
        printf("LABELS must be %lu and SCRATCH_NUMBERS %lu at least\n", (unsigned long)facts.labels,
               (unsigned long)needed);
        return EXIT_FAILURE;
    }
    must(cygnet_session_write_sound(&session, 0, samples, count, rate, scratch, SCRATCH_NUMBERS), "sound");
    must(cygnet_session_run(&session), "run");

    CygnetAnswer best[3];
    size_t found;
    must(cygnet_session_read_probabilities(&session, 0, probabilities, facts.labels), "answers");
    must(cygnet_top(probabilities, facts.labels, best, 3, &found), "answers");
    for (size_t i = 0; i < found; i++) {
        CygnetText label;
        must(cygnet_plan_label(&plan, best[i].index, &label), "labels");
        printf("%.*s %.1f %%\n", (int)label.length, label.bytes, 100.0 * (double)best[i].score);
    }
    uint64_t hash = output_hash();
    printf("output %08lx%08lx\n", (unsigned long)(hash >> 32), (unsigned long)(hash & 0xffffffffu));
    must(cygnet_session_end(&session), "session");
    must(cygnet_plan_close(&plan), "plan");
    return EXIT_SUCCESS;
}
