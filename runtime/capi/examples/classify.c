/* Tells what is in a photo: classify MODEL.cyg PHOTO.ppm (or - for standard input)
 *
 *     djpeg photo.jpg | classify model.cyg -
 *
 * Reads binary PGM and PPM (P5, P6) of 8 bits; the plan says how a picture of any size becomes the model's input.
 * Ends with status 0, 1 when something fails, 2 when called wrongly.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cygnet.h"

/* Leaves the program unless a call was done. */
static void must(CygnetStatus status, const char *doing)
{
    if (status == CYGNET_STATUS_OK)
        return;
    fprintf(stderr, "%s: %s", doing, cygnet_status_text(status));
    if (status == CYGNET_STATUS_FILE)
        fprintf(stderr, " (%s)", strerror(errno));
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

static void fail(const char *doing, const char *problem)
{
    fprintf(stderr, "%s: %s\n", doing, problem);
    exit(EXIT_FAILURE);
}

static void *memory(size_t bytes)
{
    void *found = malloc(bytes ? bytes : 1);
    if (!found)
        fail("memory", "there is not enough");
    return found;
}

/* A number of the picture's header, behind white space and comments; 0 when there is none below a million. */
static uint32_t header_number(FILE *file)
{
    uint32_t number = 0;
    int next = getc(file);
    while (isspace(next) || next == '#') {
        if (next == '#')
            while (next != '\n' && next != EOF)
                next = getc(file);
        next = getc(file);
    }
    for (; isdigit(next) && number < 100000; next = getc(file))
        number = number * 10 + (uint32_t)(next - '0');
    return isspace(next) ? number : 0; /* one white space ends the header */
}

/* Reads a picture into memory of its own. */
static CygnetPicture read_picture(const char *path)
{
    CygnetPicture picture = {0};
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (!file)
        fail(path, strerror(errno));
    int kind = getc(file) == 'P' ? getc(file) : EOF;
    if (kind != '5' && kind != '6')
        fail(path, "not a binary PGM or PPM file: convert it, for example with djpeg or pngtopnm");
    size_t channels = kind == '6' ? 3 : 1;
    picture.width = header_number(file);
    picture.height = header_number(file);
    if (picture.width == 0 || picture.height == 0 || header_number(file) != 255)
        fail(path, "sides must be given, and samples of 8 bits: convert it again");
    if (picture.height > SIZE_MAX / 3 / picture.width)
        fail(path, "the picture is too large for this machine");
    picture.format = kind == '6' ? CYGNET_PICTURE_FORMAT_RGB8 : CYGNET_PICTURE_FORMAT_GREY8;
    picture.length = channels * picture.width * picture.height;
    uint8_t *data = memory(picture.length);
    if (fread(data, 1, picture.length, file) != picture.length)
        fail(path, "the file ends early: copy it again");
    picture.data = data;
    if (file != stdin)
        fclose(file);
    return picture;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: classify MODEL.cyg PHOTO.ppm\n");
        return 2;
    }
    if (cygnet_abi_version() != CYGNET_ABI_VERSION)
        fail("libcygnet", "the library and cygnet.h are of different versions: compile this program again");

    static CygnetPlan plan;
    static CygnetSession session;
    CygnetPlanFacts facts;
    CygnetTensor output;
    must(cygnet_plan_load(&plan, argv[1]), argv[1]);
    must(cygnet_plan_facts(&plan, &facts), argv[1]);
    must(cygnet_plan_output(&plan, 0, &output), argv[1]);
    uint8_t *room = memory(facts.arena_bytes + CYGNET_ALIGNMENT);
    uint8_t *arena = room + (CYGNET_ALIGNMENT - (uintptr_t)room % CYGNET_ALIGNMENT);
    must(cygnet_session_begin(&session, &plan, arena, facts.arena_bytes), "session");

    CygnetPicture picture = read_picture(argv[2]);
    size_t scratch_bytes;
    must(cygnet_picture_scratch(&plan, 0, picture.width, picture.height, &scratch_bytes), argv[1]);
    uint8_t *scratch = memory(scratch_bytes);
    must(cygnet_session_write_picture(&session, 0, &picture, scratch, scratch_bytes), argv[2]);
    must(cygnet_session_run(&session), "run");

    float *probabilities = memory(output.elements * sizeof *probabilities);
    CygnetAnswer best[5];
    size_t found;
    must(cygnet_session_read_probabilities(&session, 0, probabilities, output.elements), "output");
    must(cygnet_top(probabilities, output.elements, best, 5, &found), "output");
    for (size_t i = 0; i < found; i++) {
        CygnetText label;
        if (cygnet_plan_label(&plan, best[i].index, &label) == CYGNET_STATUS_OK)
            printf("%.*s", (int)label.length, label.bytes);
        else
            printf("%lu", (unsigned long)best[i].index);
        printf(" %.1f %%\n", 100.0 * (double)best[i].score);
    }

    must(cygnet_session_end(&session), "session");
    must(cygnet_plan_close(&plan), argv[1]);
    free((void *)picture.data);
    free(scratch);
    free(probabilities);
    free(room);
    return EXIT_SUCCESS;
}
