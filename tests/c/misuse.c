/* Everything that a program can do wrong and the library can see: each is answered with its status, and behind all of
 * it the session gives the same output as before. Called with a plan fed with pictures and one fed with sound. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cygnet.h"

static int failures, checks;

/* Notes a call that answers something else than expected. */
#define EXPECT(expected, call) expect(CYGNET_STATUS_##expected, call, #call, __LINE__)
#define CHECK(condition) expect(CYGNET_STATUS_OK, (condition) ? CYGNET_STATUS_OK : -1, #condition, __LINE__)

static void expect(int expected, int found, const char *call, int line)
{
    checks++;
    if (found == expected)
        return;
    failures++;
    printf("line %d: %s: expected %d, got %d (%s)\n", line, call, expected, found, cygnet_status_text(found));
}

static void *memory(size_t bytes)
{
    void *found = malloc(bytes ? bytes : 1);
    if (!found)
        exit(EXIT_FAILURE);
    return found;
}

/* A file in memory of just its size, so that a sanitizer sees what is read behind it. */
static uint8_t *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        exit(EXIT_FAILURE);
    *length = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = memory(*length);
    if (fread(bytes, 1, *length, file) != *length)
        exit(EXIT_FAILURE);
    fclose(file);
    return bytes;
}

static uint8_t *aligned(uint8_t *start)
{
    return start + (CYGNET_ALIGNMENT - (uintptr_t)start % CYGNET_ALIGNMENT);
}

static CygnetPlan plan, sound_plan;
static CygnetSession session, sound_session;
static CygnetPlanFacts facts, sound_facts;
static uint8_t *bytes, *sound_bytes, *arena, *sound_arena;
static size_t length, sound_length;
static CygnetTensor input, output;

static void broken_plans(void)
{
    CygnetPlan other = {{0}};
    EXPECT(NULL_POINTER, cygnet_plan_open(NULL, bytes, length));
    EXPECT(NULL_POINTER, cygnet_plan_open(&other, NULL, length));
    EXPECT(NULL_POINTER, cygnet_plan_open(&other, NULL, 0));
    EXPECT(UNALIGNED, cygnet_plan_open((CygnetPlan *)(void *)((char *)&other + 1), bytes, length));
    EXPECT(ELEMENT_COUNT, cygnet_plan_open(&other, bytes, SIZE_MAX));
    EXPECT(NOT_A_PLAN, cygnet_plan_open(&other, bytes, 0));
    EXPECT(OVERLAP, cygnet_plan_open(&other, (const uint8_t *)&other, sizeof other));
    for (size_t part = 0; part < length; part += part < 2000 ? 1 : 997) {
        uint8_t *cut = memory(part);
        memcpy(cut, bytes, part);
        expect(part < 128 ? CYGNET_STATUS_NOT_A_PLAN : CYGNET_STATUS_PLAN_TRUNCATED,
               cygnet_plan_open(&other, cut, part), "truncated", __LINE__);
        free(cut);
    }
    uint8_t *damaged = memory(length);
    for (size_t at = 0; at < length; at += at < 2000 ? 1 : 997) {
        memcpy(damaged, bytes, length);
        damaged[at] ^= 0x10;
        CHECK(cygnet_plan_open(&other, damaged, length) != CYGNET_STATUS_OK);
    }
    damaged[0] = 'X';
    EXPECT(NOT_A_PLAN, cygnet_plan_open(&other, damaged, length));
    memcpy(damaged, bytes, length);
    damaged[4]++;
    EXPECT(PLAN_VERSION, cygnet_plan_open(&other, damaged, length));
    damaged[4]--;
    damaged[length - 1]++;
    EXPECT(PLAN_DAMAGED, cygnet_plan_open(&other, damaged, length));
    free(damaged);
    /* Refused ones can be opened still; any address will do. */
    uint8_t *odd = memory(length + 1);
    memcpy(odd + 1, bytes, length);
    EXPECT(OK, cygnet_plan_open(&other, odd + 1, length));
    EXPECT(OK, cygnet_plan_close(&other));
    free(odd);
}

static void files(const char *plan_path, const char *program)
{
    CygnetPlan other = {{0}};
    EXPECT(NULL_POINTER, cygnet_plan_load(&other, NULL));
    EXPECT(NULL_POINTER, cygnet_plan_load(NULL, plan_path));
    EXPECT(FILE, cygnet_plan_load(&other, ""));
    EXPECT(FILE, cygnet_plan_load(&other, "/nowhere/model.cyg"));
    EXPECT(FILE, cygnet_plan_load(&other, "/"));
    EXPECT(FILE, cygnet_plan_load(&other, "/dev/null"));
    EXPECT(NOT_A_PLAN, cygnet_plan_load(&other, program));
    EXPECT(OK, cygnet_plan_load(&other, plan_path));
    EXPECT(IN_USE, cygnet_plan_load(&other, plan_path));
    EXPECT(IN_USE, cygnet_plan_open(&other, bytes, length));
    EXPECT(OK, cygnet_plan_close(&other));
}

static void objects(void)
{
    CygnetPlan other = {{0}}, copy;
    CygnetSession spare = {{0}}, moved;
    uint8_t *room = memory(facts.arena_bytes + 2 * CYGNET_ALIGNMENT), *other_arena = aligned(room);
    size_t size = facts.arena_bytes;

    /* Never opened, closed, something else, copied, opened twice. */
    EXPECT(NOT_OPEN, cygnet_plan_facts(&other, &facts));
    EXPECT(NOT_OPEN, cygnet_plan_close(&other));
    EXPECT(NOT_OPEN, cygnet_session_begin(&spare, &other, other_arena, size));
    EXPECT(OK, cygnet_plan_open(&other, bytes, length));
    EXPECT(IN_USE, cygnet_plan_open(&other, bytes, length));
    copy = other;
    EXPECT(NOT_OPEN, cygnet_plan_facts(&copy, &facts));
    EXPECT(NOT_ZEROED, cygnet_plan_open(&copy, bytes, length));
    EXPECT(OK, cygnet_plan_close(&other));
    EXPECT(NOT_OPEN, cygnet_plan_close(&other));
    EXPECT(NOT_OPEN, cygnet_plan_facts(&other, &facts));
    memset(&other, 0xa5, sizeof other);
    EXPECT(NOT_ZEROED, cygnet_plan_open(&other, bytes, length));
    EXPECT(NOT_OPEN, cygnet_plan_facts(&other, &facts));
    memset(&other, 0, sizeof other);
    EXPECT(OK, cygnet_plan_open(&other, bytes, length));

    /* Arenas: null, too small by one, unaligned, in the way of something. */
    EXPECT(NULL_POINTER, cygnet_session_begin(NULL, &other, other_arena, size));
    EXPECT(NULL_POINTER, cygnet_session_begin(&spare, NULL, other_arena, size));
    EXPECT(NULL_POINTER, cygnet_session_begin(&spare, &other, NULL, size));
    EXPECT(ARENA_TOO_SMALL, cygnet_session_begin(&spare, &other, other_arena, size - 1));
    EXPECT(ARENA_TOO_SMALL, cygnet_session_begin(&spare, &other, other_arena, 0));
    EXPECT(UNALIGNED, cygnet_session_begin(&spare, &other, other_arena + 1, size));
    EXPECT(UNALIGNED, cygnet_session_begin(&spare, &other, other_arena + 8, size));
    CHECK((uintptr_t)aligned(bytes) % CYGNET_ALIGNMENT == 0);
    EXPECT(OVERLAP, cygnet_session_begin(&spare, &other, aligned(bytes), size));
    CygnetSession *inside = (CygnetSession *)(void *)(other_arena + 64);
    memset(inside, 0, sizeof *inside);
    EXPECT(OVERLAP, cygnet_session_begin(inside, &other, other_arena, size));
    EXPECT(NOT_OPEN, cygnet_session_begin((CygnetSession *)(void *)&other, &copy, other_arena, size));

    /* Before its begin, twice, moved, of another kind, behind its end. */
    EXPECT(NOT_OPEN, cygnet_session_run(&spare));
    EXPECT(NOT_OPEN, cygnet_session_end(&spare));
    EXPECT(OK, cygnet_session_begin(&spare, &other, other_arena, size));
    EXPECT(IN_USE, cygnet_session_begin(&spare, &other, other_arena, size));
    EXPECT(IN_USE, cygnet_plan_close(&other));
    moved = spare;
    EXPECT(NOT_OPEN, cygnet_session_run(&moved));
    EXPECT(NOT_OPEN, cygnet_session_end(&moved));
    EXPECT(NOT_ZEROED, cygnet_session_begin(&moved, &other, other_arena, size));
    EXPECT(NOT_OPEN, cygnet_session_run((CygnetSession *)(void *)&other));
    EXPECT(NOT_OPEN, cygnet_plan_close((CygnetPlan *)(void *)&spare));
    EXPECT(OK, cygnet_session_run(&spare));
    EXPECT(OK, cygnet_session_end(&spare));
    EXPECT(NOT_OPEN, cygnet_session_end(&spare));
    EXPECT(NOT_OPEN, cygnet_session_run(&spare));
    EXPECT(OK, cygnet_session_begin(&spare, &other, other_arena, size));
    EXPECT(OK, cygnet_session_end(&spare));
    EXPECT(OK, cygnet_plan_close(&other));
    free(room);
}

static void tensors(void)
{
    CygnetTensor tensor;
    CygnetText text;
    uint32_t index;
    EXPECT(NULL_POINTER, cygnet_plan_facts(NULL, &facts));
    EXPECT(NULL_POINTER, cygnet_plan_facts(&plan, NULL));
    EXPECT(NULL_POINTER, cygnet_plan_input(&plan, 0, NULL));
    EXPECT(NULL_POINTER, cygnet_plan_output(&plan, 0, NULL));
    EXPECT(NULL_POINTER, cygnet_plan_label(&plan, 0, NULL));
    EXPECT(NOT_FOUND, cygnet_plan_input(&plan, facts.inputs, &tensor));
    EXPECT(NOT_FOUND, cygnet_plan_output(&plan, UINT32_MAX, &tensor));
    EXPECT(NOT_FOUND, cygnet_plan_label(&plan, facts.labels, &text));
    EXPECT(NOT_FOUND, cygnet_plan_find_input(&plan, "no such input", &index));
    EXPECT(NOT_FOUND, cygnet_plan_find_output(&plan, "", &index));
    EXPECT(NULL_POINTER, cygnet_plan_find_input(&plan, NULL, &index));
    EXPECT(NULL_POINTER, cygnet_plan_find_output(&plan, "scores", NULL));
    EXPECT(OK, cygnet_plan_find_input(&plan, "image", &index));
    CHECK(index == 0);

    size_t count = input.elements;
    float *values = memory((count + 1) * sizeof(float));
    for (size_t i = 0; i <= count; i++)
        values[i] = 0.5f;
    EXPECT(NULL_POINTER, cygnet_session_write_f32(&session, 0, NULL, count));
    EXPECT(NULL_POINTER, cygnet_session_write_f32(NULL, 0, values, count));
    EXPECT(ELEMENT_COUNT, cygnet_session_write_f32(&session, 0, values, count - 1));
    EXPECT(ELEMENT_COUNT, cygnet_session_write_f32(&session, 0, values, count + 1));
    EXPECT(ELEMENT_COUNT, cygnet_session_write_f32(&session, 0, values, SIZE_MAX / 2));
    EXPECT(UNALIGNED, cygnet_session_write_f32(&session, 0, (float *)(void *)((char *)values + 1), count));
    EXPECT(NOT_FOUND, cygnet_session_write_f32(&session, facts.inputs, values, count));
    EXPECT(OVERLAP, cygnet_session_write_f32(&session, 0, (float *)(void *)arena, count));
    EXPECT(ELEMENT_COUNT, cygnet_session_write_bytes(&session, 0, values, input.bytes - 1));
    EXPECT(NULL_POINTER, cygnet_session_write_bytes(&session, 0, NULL, input.bytes));
    EXPECT(OK, cygnet_session_write_bytes(&session, 0, values, input.bytes));

    EXPECT(NULL_POINTER, cygnet_session_read_f32(&session, 0, NULL, output.elements));
    EXPECT(ELEMENT_COUNT, cygnet_session_read_f32(&session, 0, values, output.elements + 1));
    EXPECT(NOT_FOUND, cygnet_session_read_f32(&session, facts.outputs, values, output.elements));
    EXPECT(OVERLAP, cygnet_session_read_f32(&session, 0, (float *)(void *)(arena + facts.arena_bytes - 16), 10));
    EXPECT(OVERLAP, cygnet_session_read_bytes(&session, 0, arena, output.bytes));
    EXPECT(ELEMENT_COUNT, cygnet_session_read_bytes(&session, 0, values, 0));
    EXPECT(ELEMENT_COUNT, cygnet_session_read_probabilities(&session, 0, values, 0));
    EXPECT(NULL_POINTER, cygnet_session_input_stored(&session, 0, NULL));
    EXPECT(NULL_POINTER, cygnet_session_output_stored(&session, 0, NULL));
    void *stored;
    EXPECT(NOT_FOUND, cygnet_session_input_stored(&session, 7, &stored));

    CygnetAnswer answers[20];
    size_t found;
    EXPECT(NULL_POINTER, cygnet_top(NULL, 3, answers, 20, &found));
    EXPECT(NULL_POINTER, cygnet_top(values, 3, NULL, 20, &found));
    EXPECT(NULL_POINTER, cygnet_top(values, 3, answers, 20, NULL));
    EXPECT(OK, cygnet_top(values, 0, answers, 20, &found));
    CHECK(found == 0);
    values[1] = 0.75f;
    EXPECT(OK, cygnet_top(values, count, answers, 20, &found));
    CHECK(found == CYGNET_MAX_ANSWERS && answers[0].index == 1 && answers[1].index == 0 && answers[2].index == 2);
    free(values);
}

static void pictures(void)
{
    CygnetPictureFacts picture_facts;
    CygnetSoundFacts not_there;
    EXPECT(OK, cygnet_plan_picture(&plan, 0, &picture_facts));
    CHECK(picture_facts.width == 28 && picture_facts.height == 28 && picture_facts.colour == CYGNET_COLOUR_GREY);
    EXPECT(NOT_FOUND, cygnet_plan_picture(&plan, 1, &picture_facts));
    EXPECT(NULL_POINTER, cygnet_plan_picture(&plan, 0, NULL));
    EXPECT(NOT_PREPARED, cygnet_plan_sound(&plan, 0, &not_there));

    enum { WIDTH = 31, HEIGHT = 17 };
    size_t needed;
    EXPECT(PICTURE, cygnet_picture_scratch(&plan, 0, 0, HEIGHT, &needed));
    EXPECT(PICTURE, cygnet_picture_scratch(&plan, 0, UINT32_MAX, HEIGHT, &needed));
    EXPECT(NULL_POINTER, cygnet_picture_scratch(&plan, 0, WIDTH, HEIGHT, NULL));
    EXPECT(OK, cygnet_picture_scratch(&plan, 0, WIDTH, HEIGHT, &needed));
    uint8_t *pixels = memory(WIDTH * HEIGHT * 3), *scratch = memory(needed);
    memset(pixels, 77, WIDTH * HEIGHT * 3);
    const CygnetPicture good = {pixels, WIDTH * HEIGHT * 3, WIDTH, HEIGHT, 0, CYGNET_PICTURE_FORMAT_RGB8, 0};
    CygnetPicture picture = good;
    EXPECT(OK, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
    EXPECT(NULL_POINTER, cygnet_session_write_picture(&session, 0, NULL, scratch, needed));
    EXPECT(NULL_POINTER, cygnet_session_write_picture(&session, 0, &picture, NULL, needed));
    EXPECT(SCRATCH_TOO_SMALL, cygnet_session_write_picture(&session, 0, &picture, scratch, needed - 1));
    EXPECT(SCRATCH_TOO_SMALL, cygnet_session_write_picture(&session, 0, &picture, NULL, 0));
    EXPECT(OVERLAP, cygnet_session_write_picture(&session, 0, &picture, arena, needed));
    EXPECT(OVERLAP, cygnet_session_write_picture(&session, 0, &picture, pixels, needed));
    picture.length--;
    EXPECT(PICTURE, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
    picture = good;
    picture.data = NULL;
    EXPECT(NULL_POINTER, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
    picture = good;
    picture.format = 5;
    EXPECT(PICTURE, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
    picture = good;
    picture.full_range = 2;
    EXPECT(PICTURE, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
    picture = good;
    picture.row_stride = WIDTH * 3 - 1;
    EXPECT(PICTURE, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
    picture.row_stride = SIZE_MAX;
    EXPECT(PICTURE, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
    picture = good;
    picture.width = 0;
    EXPECT(PICTURE, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
    picture.width = UINT32_MAX;
    picture.height = UINT32_MAX;
    EXPECT(PICTURE, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
    static const uint32_t yuv[] = {CYGNET_PICTURE_FORMAT_NV12, CYGNET_PICTURE_FORMAT_I420, CYGNET_PICTURE_FORMAT_YUYV};
    for (size_t i = 0; i < 3; i++) {
        picture = good;
        picture.format = yuv[i];
        EXPECT(OK, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
        picture.row_stride = WIDTH;
        EXPECT(PICTURE, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
        picture.row_stride = 0;
        picture.length = WIDTH * HEIGHT;
        EXPECT(PICTURE, cygnet_session_write_picture(&session, 0, &picture, scratch, needed));
    }
    free(scratch);
    free(pixels);
}

static void sounds(void)
{
    CygnetSoundFacts sound;
    CygnetPictureFacts not_there;
    size_t needed;
    EXPECT(OK, cygnet_plan_sound(&sound_plan, 0, &sound));
    CHECK(sound.sample_rate == 8000 && sound.rows == 61 && sound.row_length == 40 && sound.mean[39] == -4.0f);
    EXPECT(NULL_POINTER, cygnet_plan_sound(&sound_plan, 0, NULL));
    EXPECT(NOT_PREPARED, cygnet_plan_picture(&sound_plan, 0, &not_there));
    EXPECT(NOT_PREPARED, cygnet_sound_scratch(&plan, 0, 1, 8000, &needed));
    EXPECT(NULL_POINTER, cygnet_sound_scratch(&sound_plan, 0, 1, 8000, NULL));
    EXPECT(SAMPLE_RATE, cygnet_sound_scratch(&sound_plan, 0, 1, 0, &needed));
    EXPECT(SAMPLE_RATE, cygnet_sound_scratch(&sound_plan, 0, 1, UINT32_MAX, &needed));
    EXPECT(OK, cygnet_sound_scratch(&sound_plan, 0, SIZE_MAX, 8000, &needed));
    enum { SAMPLES = 1001 };
    int16_t *samples = memory(SAMPLES * sizeof *samples);
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = (int16_t)(i * 37 % 2001 - 1000);
    static const uint32_t rates[] = {8000, 4000, 44100, 192000};
    for (size_t i = 0; i < 4; i++) {
        EXPECT(OK, cygnet_sound_scratch(&sound_plan, 0, SAMPLES, rates[i], &needed));
        float *scratch = memory(needed * sizeof *scratch);
        EXPECT(OK, cygnet_session_write_sound(&sound_session, 0, samples, SAMPLES, rates[i], scratch, needed));
        EXPECT(OK, cygnet_session_run(&sound_session));
        EXPECT(SCRATCH_TOO_SMALL,
               cygnet_session_write_sound(&sound_session, 0, samples, SAMPLES, rates[i], scratch, needed - 1));
        EXPECT(NULL_POINTER, cygnet_session_write_sound(&sound_session, 0, NULL, SAMPLES, rates[i], scratch, needed));
        EXPECT(NULL_POINTER, cygnet_session_write_sound(&sound_session, 0, samples, SAMPLES, rates[i], NULL, needed));
        EXPECT(OVERLAP,
               cygnet_session_write_sound(&sound_session, 0, samples, SIZE_MAX, rates[i], scratch, needed));
        EXPECT(OVERLAP, cygnet_session_write_sound(&sound_session, 0, samples, SAMPLES, rates[i],
                                                   (float *)(void *)sound_arena, needed));
        EXPECT(SAMPLE_RATE, cygnet_session_write_sound(&sound_session, 0, samples, SAMPLES, 3999, scratch, needed));
        EXPECT(NOT_PREPARED, cygnet_session_write_sound(&session, 0, samples, SAMPLES, rates[i], scratch, needed));
        free(scratch);
    }
    free(samples);
}

/* The output for one input, in memory of its own. */
static uint8_t *one_run(void)
{
    float *values = memory(input.elements * sizeof *values);
    for (size_t i = 0; i < input.elements; i++)
        values[i] = (float)(i % 29) / 29.0f;
    uint8_t *answer = memory(output.bytes);
    EXPECT(OK, cygnet_session_write_f32(&session, 0, values, input.elements));
    EXPECT(OK, cygnet_session_run(&session));
    EXPECT(OK, cygnet_session_read_bytes(&session, 0, answer, output.bytes));
    free(values);
    return answer;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    CHECK(cygnet_abi_version() == CYGNET_ABI_VERSION);
    CHECK(strcmp(cygnet_version(), "0.1.0") == 0);
    for (int status = -3; status < 40; status++)
        CHECK(strlen(cygnet_status_text(status)) > 3);
    CHECK(strcmp(cygnet_status_text(-3), cygnet_status_text(1000000)) == 0);

    bytes = read_file(argv[1], &length);
    sound_bytes = read_file(argv[2], &sound_length);
    EXPECT(OK, cygnet_plan_open(&plan, bytes, length));
    EXPECT(OK, cygnet_plan_open(&sound_plan, sound_bytes, sound_length));
    EXPECT(OK, cygnet_plan_facts(&plan, &facts));
    EXPECT(OK, cygnet_plan_facts(&sound_plan, &sound_facts));
    EXPECT(OK, cygnet_plan_input(&plan, 0, &input));
    EXPECT(OK, cygnet_plan_output(&plan, 0, &output));
    uint8_t *room = memory(facts.arena_bytes + CYGNET_ALIGNMENT);
    uint8_t *sound_room = memory(sound_facts.arena_bytes + CYGNET_ALIGNMENT);
    arena = aligned(room);
    sound_arena = aligned(sound_room);
    EXPECT(OK, cygnet_session_begin(&session, &plan, arena, facts.arena_bytes));
    EXPECT(OK, cygnet_session_begin(&sound_session, &sound_plan, sound_arena, sound_facts.arena_bytes));
    uint8_t *before = one_run();

    broken_plans();
    files(argv[1], argv[0]);
    objects();
    tensors();
    pictures();
    sounds();

    uint8_t *after = one_run();
    CHECK(memcmp(before, after, output.bytes) == 0);
    EXPECT(OK, cygnet_session_end(&session));
    EXPECT(OK, cygnet_session_end(&sound_session));
    EXPECT(OK, cygnet_plan_close(&plan));
    EXPECT(OK, cygnet_plan_close(&sound_plan));
    free(before);
    free(after);
    free(room);
    free(sound_room);
    free(bytes);
    free(sound_bytes);
    printf("%d checks, %d failures\n", checks, failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
