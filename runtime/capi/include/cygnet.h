/* Cygnet for C: int8 neural networks inside memory that you own.
 *
 * Made by cbindgen from runtime/capi/src; change it there. C99 and C++. Licence: MIT or Apache-2.0.
 *
 *     static CygnetPlan plan;                      zeroed, because it is static
 *     static CygnetSession session;
 *     if (cygnet_abi_version() != CYGNET_ABI_VERSION) ...
 *
 *     cygnet_plan_open(&plan, bytes, length);      verified, then read in place: flash, ROM or a file
 *     cygnet_plan_facts(&plan, &facts);            sizes first
 *     void *arena = aligned_alloc(CYGNET_ALIGNMENT, ...facts.arena_bytes rounded up...);    or static memory
 *     cygnet_session_begin(&session, &plan, arena, facts.arena_bytes);
 *
 *     cygnet_session_write_f32(&session, 0, input, count);      or bytes, a picture, sound, in place
 *     cygnet_session_run(&session);
 *     cygnet_session_read_f32(&session, 0, scores, count);
 *
 *     cygnet_session_end(&session);
 *     cygnet_plan_close(&plan);
 *
 * Plans (.cyg) are made on a laptop: `quantize model.onnx --calib data/ --plan model.cyg`, or `quantize compile`. The
 * same plan gives the same bits on every machine.
 *
 * Memory. The library allocates nothing: the plan's bytes, the arena, both objects, values and scratch are yours.
 * Objects are zeroed before they are opened for the first time and stay in their places while they are open. Pieces of
 * memory that are given to the same call must not overlap.
 *
 * Stack. cygnet_session_run() takes what its kernels need, as measured over all models of the tests: up to 99 kB on
 * x86-64 with AVX2 but without VNNI, where int8 convolutions keep their tiles there, up to 37 kB on other x86-64, 6 kB
 * by the portable kernels. Give a thread that runs sessions 128 kB or more. `quantize compile --board` prints what
 * firmware takes.
 *
 * Errors. Every call that can fail gives a CygnetStatus; cygnet_status_text() tells what it means and the mend. Null
 * and unaligned pointers, wrong sizes, damaged or truncated plans, objects that are not open, are open already or were
 * copied, and calls into a session that is busy are answered with a status. What cannot be seen: memory that is shorter
 * than you say, or that you free or change while it is in use. Nothing unwinds into C.
 *
 * Threads. An open plan is only read: share it. A session is for one thread at a time; sessions with arenas of their
 * own run side by side. What each call needs stands at it. Nothing may be called from a signal handler; from an
 * interrupt only with objects that the interrupted code does not use.
 *
 * Linking. `pkg-config --cflags --libs cygnet` (with --static for libcygnet.a), find_package(Cygnet) in CMake, or for
 * bare metal libcygnet.a and -Wl,--gc-sections. runtime/capi/install makes and installs all of it, and by CYGNET_PLAN
 * leaves the kernels out that one plan does not need.
 */


#ifndef CYGNET_H
#define CYGNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The version of this interface: it changes whenever a program that was compiled with an older header would go wrong.
// Compare it with cygnet_abi_version() once at the start.
#define CYGNET_ABI_VERSION 1

// Arenas start at a multiple of this many bytes.
#define CYGNET_ALIGNMENT 16

// The greatest number of dimensions of a tensor.
#define CYGNET_MAX_RANK 6

// The most values in a row of sound features.
#define CYGNET_MAX_BANDS 128

// The most answers that cygnet_top() finds.
#define CYGNET_MAX_ANSWERS 16

// What a call answers. Whatever is not CYGNET_STATUS_OK has changed nothing, but where the function says so.
enum CygnetStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Done.
    CYGNET_STATUS_OK = 0,
    // A pointer is null.
    CYGNET_STATUS_NULL_POINTER = 1,
    // A pointer is not aligned for what it points to; an arena must start at a multiple of CYGNET_ALIGNMENT.
    CYGNET_STATUS_UNALIGNED = 2,
    // Two pieces of memory overlap that must not: arena, plan, object, values, scratch.
    CYGNET_STATUS_OVERLAP = 3,
    // The memory of a plan or session was neither zeroed nor closed before it was opened.
    CYGNET_STATUS_NOT_ZEROED = 4,
    // The plan or session is not open: never opened, closed, copied to another place, or something else.
    CYGNET_STATUS_NOT_OPEN = 5,
    // The plan or session is open already, or the plan still has sessions.
    CYGNET_STATUS_IN_USE = 6,
    // Another call works with this session, perhaps in another thread or below an interrupt.
    CYGNET_STATUS_BUSY = 7,
    // The bytes are no plan.
    CYGNET_STATUS_NOT_A_PLAN = 8,
    // The plan was made for another version of the runtime.
    CYGNET_STATUS_PLAN_VERSION = 9,
    // The bytes end before the plan does.
    CYGNET_STATUS_PLAN_TRUNCATED = 10,
    // The checksum of the plan is wrong.
    CYGNET_STATUS_PLAN_DAMAGED = 11,
    // The plan breaks a rule that makes running it safe.
    CYGNET_STATUS_PLAN_INVALID = 12,
    // The plan has a step that only a machine with the ONNX fallback runs.
    CYGNET_STATUS_NEEDS_FALLBACK = 13,
    // The arena has fewer bytes than the plan needs.
    CYGNET_STATUS_ARENA_TOO_SMALL = 14,
    // There is no input, output, label or name like this.
    CYGNET_STATUS_NOT_FOUND = 15,
    // The number of elements or bytes is not that of the tensor.
    CYGNET_STATUS_ELEMENT_COUNT = 16,
    // The tensor has another type of elements than the call reads or writes.
    CYGNET_STATUS_ELEMENT_TYPE = 17,
    // The plan does not say how this input is made of a picture, or of sound.
    CYGNET_STATUS_NOT_PREPARED = 18,
    // The picture cannot be read: sides, stride, length or format.
    CYGNET_STATUS_PICTURE = 19,
    // The sample rate is not between 4000 and 192000 Hz.
    CYGNET_STATUS_SAMPLE_RATE = 20,
    // The scratch is too small.
    CYGNET_STATUS_SCRATCH_TOO_SMALL = 21,
    // The file cannot be opened or mapped; errno says why.
    CYGNET_STATUS_FILE = 22,
    // This build of the library has no files.
    CYGNET_STATUS_NO_FILES = 23,
    // The library was built for one plan, and this one has a step of another kind.
    CYGNET_STATUS_NO_KERNEL = 24,
    // A bug in Cygnet; the session can be ended.
    CYGNET_STATUS_INTERNAL = 25,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CygnetStatus CygnetStatus;
#else
typedef int32_t CygnetStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The type of the elements of a tensor.
enum CygnetType
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Signed 8-bit.
    CYGNET_TYPE_INT8 = 0,
    // IEEE 754 single precision.
    CYGNET_TYPE_FLOAT32 = 1,
    // Unsigned 8-bit.
    CYGNET_TYPE_UINT8 = 2,
    // Signed 32-bit.
    CYGNET_TYPE_INT32 = 3,
    // Signed 64-bit.
    CYGNET_TYPE_INT64 = 4,
    // One byte, 0 or 1.
    CYGNET_TYPE_BOOL = 5,
    // A type that this header does not know.
    CYGNET_TYPE_OTHER = 6,
    // Signed 16-bit.
    CYGNET_TYPE_INT16 = 7,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CygnetType CygnetType;
#else
typedef uint32_t CygnetType;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Order of the colours of an input.
enum CygnetColour
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Red, green, blue.
    CYGNET_COLOUR_RGB = 0,
    // Blue, green, red.
    CYGNET_COLOUR_BGR = 1,
    // One channel: (19595 R + 38470 G + 7471 B + 32768) >> 16.
    CYGNET_COLOUR_GREY = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CygnetColour CygnetColour;
#else
typedef uint32_t CygnetColour;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Order of the axes of a picture in the ONNX model.
enum CygnetLayout
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // [1, channels, height, width].
    CYGNET_LAYOUT_NCHW = 0,
    // [1, height, width, channels].
    CYGNET_LAYOUT_NHWC = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CygnetLayout CygnetLayout;
#else
typedef uint32_t CygnetLayout;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a picture of another shape is brought to size.
enum CygnetFit
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Both sides on their own.
    CYGNET_FIT_STRETCH = 0,
    // The shorter side to resize_shorter, then the middle is cut out.
    CYGNET_FIT_CROP = 1,
    // The largest size of the same aspect ratio, in the middle of grey 114.
    CYGNET_FIT_PAD = 2,
    // A line of text: the same at the left upper corner, on grey 127.
    CYGNET_FIT_LINE = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CygnetFit CygnetFit;
#else
typedef uint32_t CygnetFit;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How pixels are computed when the size changes.
enum CygnetFilter
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The pixel under the centre.
    CYGNET_FILTER_NEAREST = 0,
    // Triangle, over all pixels that are covered when shrinking.
    CYGNET_FILTER_BILINEAR = 1,
    // Cubic convolution, a = -0.5.
    CYGNET_FILTER_BICUBIC = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CygnetFilter CygnetFilter;
#else
typedef uint32_t CygnetFilter;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What sound becomes.
enum CygnetFeatures
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The samples, divided by 32768.
    CYGNET_FEATURES_WAVEFORM = 0,
    // ln(max(power, floor)) of mel bands.
    CYGNET_FEATURES_LOG_MEL = 1,
    // The first coefficients of the orthonormal DCT-II of a log-mel row.
    CYGNET_FEATURES_MFCC = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CygnetFeatures CygnetFeatures;
#else
typedef uint32_t CygnetFeatures;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How mel relates to Hz.
enum CygnetMelScale
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // 2595 log10(1 + f / 700).
    CYGNET_MEL_SCALE_HTK = 0,
    // Linear below 1 kHz, logarithmic above.
    CYGNET_MEL_SCALE_SLANEY = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CygnetMelScale CygnetMelScale;
#else
typedef uint32_t CygnetMelScale;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How mel filters are weighted.
enum CygnetMelNorm
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Height 1.
    CYGNET_MEL_NORM_NONE = 0,
    // Area 1, over Hz.
    CYGNET_MEL_NORM_SLANEY = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CygnetMelNorm CygnetMelNorm;
#else
typedef uint32_t CygnetMelNorm;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How the bytes of a picture are to be read.
enum CygnetPictureFormat
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Three bytes a pixel: red, green, blue.
    CYGNET_PICTURE_FORMAT_RGB8 = 0,
    // One byte a pixel.
    CYGNET_PICTURE_FORMAT_GREY8 = 1,
    // All Y, then U and V in turn, in half resolution: what most camera pipelines give.
    CYGNET_PICTURE_FORMAT_NV12 = 2,
    // All Y, then all U, then all V, in half resolution.
    CYGNET_PICTURE_FORMAT_I420 = 3,
    // Y, U, Y, V for two pixels: what most USB cameras give.
    CYGNET_PICTURE_FORMAT_YUYV = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum CygnetPictureFormat CygnetPictureFormat;
#else
typedef uint32_t CygnetPictureFormat;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// An open plan. Zero it before it is opened for the first time (`CygnetPlan plan = {0};`, or static); leave it in its
// place until it is closed. What is in it is not yours.
typedef struct CygnetPlan {
    // Not yours.
    uint64_t reserved[20];
} CygnetPlan;

// Text inside a plan: UTF-8, not ended by a zero. printf("%.*s", (int)text.length, text.bytes) prints it.
typedef struct CygnetText {
    // The first byte; never null in what a call has filled in.
    const char *bytes;
    // Number of bytes.
    size_t length;
} CygnetText;

// What there is to know about a plan before memory is given to it.
typedef struct CygnetPlanFacts {
    // The name of the model; empty when the plan has none.
    struct CygnetText name;
    // Bytes of the plan.
    size_t plan_bytes;
    // Bytes of weights and tables in it.
    size_t constant_bytes;
    // Bytes of arena that a session needs.
    size_t arena_bytes;
    // Bytes of the largest set of tensors that live at the same time: no arena could be smaller.
    size_t live_bytes;
    // Number of inputs.
    uint32_t inputs;
    // Number of outputs.
    uint32_t outputs;
    // Number of steps.
    uint32_t steps;
    // Number of labels of output 0; 0 when the plan has none.
    uint32_t labels;
    // A step needs the ONNX fallback: no session of this library runs the plan.
    bool needs_fallback;
} CygnetPlanFacts;

// An input or output of a model.
typedef struct CygnetTensor {
    // Its name in the ONNX model.
    struct CygnetText name;
    // The type that the ONNX model declares: what the calls for bytes take and give.
    CygnetType element_type;
    // The type that lies in the arena: int8 may stand for float32, and for uint8 (then 128 less), int16 for float32.
    CygnetType stored_type;
    // Number of dimensions.
    uint32_t rank;
    // Dimensions as the ONNX model declares them, the last one contiguous; 1 behind `rank`.
    uint32_t shape[CYGNET_MAX_RANK];
    // Axis order in the arena: memory axis i holds axis order[i] of `shape`. Pictures lie channels-last.
    uint32_t order[CYGNET_MAX_RANK];
    // Number of elements: the product of `shape`.
    size_t elements;
    // Bytes that the calls for bytes take and give: `elements` of `element_type`.
    size_t bytes;
    // Bytes in the arena: `elements` of `stored_type`.
    size_t stored_bytes;
    // Where int8 is stored, real = (stored - zero_point) * scale.
    float scale;
    // The stored int8 that stands for 0.
    int32_t zero_point;
} CygnetTensor;

// A session. Zero it before it begins for the first time (`CygnetSession session = {0};`, or static); leave it in its
// place until it ends. What is in it is not yours.
typedef struct CygnetSession {
    // Not yours.
    uint64_t reserved[20];
} CygnetSession;

// How a picture becomes an input: tensor = (pixel - mean) * scale, pixels from 0 to 255.
typedef struct CygnetPictureFacts {
    // Width of the tensor.
    uint32_t width;
    // Height of the tensor.
    uint32_t height;
    // Order of the colours.
    CygnetColour colour;
    // Order of the axes in the ONNX model.
    CygnetLayout layout;
    // How the aspect ratio is treated.
    CygnetFit fit;
    // Length of the shorter side after resizing where `fit` is CYGNET_FIT_CROP, else 0.
    uint32_t resize_shorter;
    // How pixels are resampled.
    CygnetFilter filter;
    // Taken from each pixel, in the order of `colour`; a grey one uses the first.
    float mean[3];
    // Multiplied then, in the order of `colour`; a grey one uses the first.
    float scale[3];
} CygnetPictureFacts;

// A picture in your memory.
typedef struct CygnetPicture {
    // The bytes, from the upper left pixel on.
    const uint8_t *data;
    // How many there are.
    size_t length;
    // Pixels of a row.
    uint32_t width;
    // Rows.
    uint32_t height;
    // Bytes from a row to the next for RGB8 and GREY8; 0 when there are no gaps. Others have none: 0.
    size_t row_stride;
    // A CygnetPictureFormat.
    uint32_t format;
    // For the YUV formats: 0 when black and white are 16 and 235 (cameras, video), 1 when they are 0 and 255 (JPEG).
    uint32_t full_range;
} CygnetPicture;

// How sound becomes an input: rows of features, feature = (value - mean) * scale. A row covers `window` samples, the
// next one begins `hop` later; samples are divided by 32768 and weighted by a periodic Hann window.
typedef struct CygnetSoundFacts {
    // Samples a second.
    uint32_t sample_rate;
    // Samples that make one input.
    uint32_t clip_samples;
    // What is computed.
    CygnetFeatures features;
    // Rows of the tensor.
    uint32_t rows;
    // Values of a row.
    uint32_t row_length;
    // Samples of a frame.
    uint32_t window;
    // Samples from one frame to the next.
    uint32_t hop;
    // Length of the Fourier transform.
    uint32_t fft;
    // Mel bands.
    uint32_t mels;
    // Where the first band begins, Hz.
    float mel_low_hz;
    // Where the last band ends, Hz.
    float mel_high_hz;
    // How mel relates to Hz.
    CygnetMelScale mel_scale;
    // How mel filters are weighted.
    CygnetMelNorm mel_norm;
    // The smallest power that the logarithm sees.
    float floor;
    // Taken from each value of a row.
    float mean[CYGNET_MAX_BANDS];
    // Multiplied then.
    float scale[CYGNET_MAX_BANDS];
} CygnetSoundFacts;

// One of the best scores.
typedef struct CygnetAnswer {
    // Which score it is; cygnet_plan_label() tells its name.
    uint32_t index;
    // The score.
    float score;
} CygnetAnswer;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the interface that the library has; equal to CYGNET_ABI_VERSION, or the header is not the library's.
//
// Threads: any, at any time.
uint32_t cygnet_abi_version(void);

// The version of the library, such as "0.1.0".
//
// Owner: the library, for ever. Threads: any, at any time.
const char *cygnet_version(void);

// One English sentence about a status: what is wrong and the mend. Any number may be asked for.
//
// Owner: the library, for ever. Threads: any, at any time.
const char *cygnet_status_text(int32_t status);

// Opens a plan that lies in memory: verified once, then read in place; nothing is copied. Bytes behind its end are
// left alone. The bytes may lie at any address; float32 steps are faster at a multiple of 16.
//
// Owner: `bytes` stay yours; they must not change, move or vanish before cygnet_plan_close(). Takes no other memory.
// Threads: one at a time for this object; when it is done, any may use the open plan.
// Pointers: `plan` is null or points to a CygnetPlan, `bytes` is null or points to `length` bytes.
CygnetStatus cygnet_plan_open(struct CygnetPlan *plan,
                              const uint8_t *bytes,
                              size_t length);

// Opens a plan in a file, which is mapped into memory, not read. CYGNET_STATUS_NO_FILES in builds for bare metal.
//
// Owner: `path` (ended by a zero) is yours and not kept; the mapping is the library's until cygnet_plan_close().
// Nobody may write to the file until then: replace a plan by renaming another over it.
// Threads: one at a time for this object; when it is done, any may use the open plan.
// Pointers: `plan` is null or points to a CygnetPlan, `path` is null or points to bytes of which one is zero.
CygnetStatus cygnet_plan_load(struct CygnetPlan *plan,
                              const char *path);

// Closes a plan; its memory can be opened again. CYGNET_STATUS_IN_USE as long as a session of it has not ended.
//
// Owner: the bytes of the plan are yours alone again; texts that point into them stay as long as they do, but a file's
// are gone. Threads: one, and no other may use the plan meanwhile.
// Pointers: `plan` is null or points to a CygnetPlan.
CygnetStatus cygnet_plan_close(struct CygnetPlan *plan);

// Tells the sizes of a plan.
//
// Owner: `facts` is yours; its name points into the plan. Threads: any number at a time.
// Pointers: `plan` is null or points to a CygnetPlan, `facts` is null or points to room.
CygnetStatus cygnet_plan_facts(const struct CygnetPlan *plan, struct CygnetPlanFacts *facts);

// Tells about input `index`, counted from 0 as in the ONNX model.
//
// Owner: `tensor` is yours; its name points into the plan. Threads: any number at a time.
// Pointers: `plan` is null or points to a CygnetPlan, `tensor` is null or points to room.
CygnetStatus cygnet_plan_input(const struct CygnetPlan *plan,
                               uint32_t index,
                               struct CygnetTensor *tensor);

// Tells about output `index`, counted from 0 as in the ONNX model.
//
// Owner: `tensor` is yours; its name points into the plan. Threads: any number at a time.
// Pointers: `plan` is null or points to a CygnetPlan, `tensor` is null or points to room.
CygnetStatus cygnet_plan_output(const struct CygnetPlan *plan,
                                uint32_t index,
                                struct CygnetTensor *tensor);

// Finds the input of a name; CYGNET_STATUS_NOT_FOUND when there is none.
//
// Owner: `name` (ended by a zero) and `index` are yours. Threads: any number at a time.
// Pointers: `plan` is null or points to a CygnetPlan, `name` is null or points to bytes of which one is zero, `index`
// is null or points to room.
CygnetStatus cygnet_plan_find_input(const struct CygnetPlan *plan,
                                    const char *name,
                                    uint32_t *index);

// Finds the output of a name; CYGNET_STATUS_NOT_FOUND when there is none.
//
// Owner: `name` (ended by a zero) and `index` are yours. Threads: any number at a time.
// Pointers: `plan` is null or points to a CygnetPlan, `name` is null or points to bytes of which one is zero, `index`
// is null or points to room.
CygnetStatus cygnet_plan_find_output(const struct CygnetPlan *plan,
                                     const char *name,
                                     uint32_t *index);

// Tells label `index` of output 0.
//
// Owner: `label` is yours; its text points into the plan. Threads: any number at a time.
// Pointers: `plan` is null or points to a CygnetPlan, `label` is null or points to room.
CygnetStatus cygnet_plan_label(const struct CygnetPlan *plan,
                               uint32_t index,
                               struct CygnetText *label);

// Joins a plan and an arena, which is filled with zeros. Takes the fastest kernels of this CPU; the results have the
// same bits with all of them. A plan may have any number of sessions, each with an arena of its own.
//
// Owner: session and arena stay yours and must stay in their places until cygnet_session_end(); until then the bytes
// of the arena are the library's, and the plan must stay open. An arena larger than needed is used from its start.
// Threads: one at a time for this object. Sessions of the same plan may begin and end in different threads (not in
// interrupts on Armv6-M).
// Pointers: `session` is null or points to a CygnetSession, `plan` to a CygnetPlan; `arena` is null or points to
// `arena_bytes`.
CygnetStatus cygnet_session_begin(struct CygnetSession *session,
                                  const struct CygnetPlan *plan,
                                  void *arena,
                                  size_t arena_bytes);

// Ends a session; its memory can begin another one.
//
// Owner: session and arena are yours alone again. Threads: one at a time for this object.
// Pointers: `session` is null or points to a CygnetSession; when it has begun, its plan is open.
CygnetStatus cygnet_session_end(struct CygnetSession *session);

// Runs all steps on the inputs that were written. Write every input before each run, but those that the plan keeps from run
// to run: steps reuse the memory of what was read for the last time. Takes no memory but the stack.
//
// Threads: one at a time for this session; sessions with arenas of their own run at the same time.
// Pointers: `session` is null or points to a CygnetSession; when it has begun, its plan and arena are there.
CygnetStatus cygnet_session_run(struct CygnetSession *session);

// Sets what the plan keeps from run to run to zeros, as it is when a session begins: the next run begins a new sequence.
//
// Threads: one at a time for this session; sessions with arenas of their own run at the same time.
// Pointers: `session` is null or points to a CygnetSession; when it has begun, its plan and arena are there.
CygnetStatus cygnet_session_reset(struct CygnetSession *session);

// Sets input `index` from real numbers in the order of its shape; they are quantized where the arena holds int8
// (half to even, saturating, NaN as 0). CYGNET_STATUS_ELEMENT_TYPE for inputs whose element_type is not float32.
//
// Owner: `values` are yours and not kept. Threads: one at a time for this session.
// Pointers: `session` is null or points to a CygnetSession, `values` is null or points to `count` numbers.
CygnetStatus cygnet_session_write_f32(struct CygnetSession *session,
                                      uint32_t index,
                                      const float *values,
                                      size_t count);

// Sets input `index` from the bytes of an ONNX tensor: elements of its element_type in the order of its shape,
// little-endian, at any address.
//
// Owner: `bytes` are yours and not kept. Threads: one at a time for this session.
// Pointers: `session` is null or points to a CygnetSession, `bytes` is null or points to `count` bytes.
CygnetStatus cygnet_session_write_bytes(struct CygnetSession *session,
                                        uint32_t index,
                                        const void *bytes,
                                        size_t count);

// Reads output `index` as real numbers in the order of its shape; whole numbers are converted.
//
// Owner: `values` are yours. Threads: one at a time for this session.
// Pointers: `session` is null or points to a CygnetSession, `values` is null or points to room for `count` numbers.
CygnetStatus cygnet_session_read_f32(struct CygnetSession *session,
                                     uint32_t index,
                                     float *values,
                                     size_t count);

// Reads output `index` as the bytes of an ONNX tensor: elements of its element_type in the order of its shape,
// little-endian, at any address.
//
// Owner: `bytes` are yours. Threads: one at a time for this session.
// Pointers: `session` is null or points to a CygnetSession, `bytes` is null or points to room for `count` bytes.
CygnetStatus cygnet_session_read_bytes(struct CygnetSession *session,
                                       uint32_t index,
                                       void *bytes,
                                       size_t count);

// Where input `index` lies in the arena, to be written in place: stored_bytes of stored_type in the order of `order`.
// CygnetTensor tells all of them, and the scale.
//
// Owner: part of the arena; write to it between calls, before cygnet_session_run(). It stays in its place until the
// session ends, and after a run it holds something else. Threads: one at a time for this session.
// Pointers: `session` is null or points to a CygnetSession, `stored` is null or points to room.
CygnetStatus cygnet_session_input_stored(struct CygnetSession *session,
                                         uint32_t index,
                                         void **stored);

// Where output `index` lies in the arena, to be read in place: stored_bytes of stored_type in the order of `order`.
// CygnetTensor tells all of them, and the scale.
//
// Owner: part of the arena; read it between calls, behind cygnet_session_run(). It stays in its place until the
// session ends, and holds the output until the next input is written. Threads: one at a time for this session.
// Pointers: `session` is null or points to a CygnetSession, `stored` is null or points to room.
CygnetStatus cygnet_session_output_stored(struct CygnetSession *session,
                                          uint32_t index,
                                          const void **stored);

// Tells how a picture becomes input `index`; CYGNET_STATUS_NOT_PREPARED when the plan does not say.
//
// Owner: `facts` is yours. Threads: any number at a time.
// Pointers: `plan` is null or points to a CygnetPlan, `facts` is null or points to room.
CygnetStatus cygnet_plan_picture(const struct CygnetPlan *plan,
                                 uint32_t index,
                                 struct CygnetPictureFacts *facts);

// Tells the bytes of scratch that cygnet_session_write_picture() needs for pictures of a size: a few rows.
//
// Owner: `bytes` is yours. Threads: any number at a time.
// Pointers: `plan` is null or points to a CygnetPlan, `bytes` is null or points to room.
CygnetStatus cygnet_picture_scratch(const struct CygnetPlan *plan,
                                    uint32_t index,
                                    uint32_t width,
                                    uint32_t height,
                                    size_t *bytes);

// Sets input `index` from a picture of any size: resized, cropped or padded, normalised and quantized into the arena
// in one pass, as cygnet_plan_picture() tells.
//
// Owner: the picture and its bytes, and `scratch` (cygnet_picture_scratch() bytes, at any address; may be null when
// that is 0) are yours and not kept. Threads: one at a time for this session.
// Pointers: `session` is null or points to a CygnetSession; `picture` is null or points to one whose `data` is null
// or points to `length` bytes; `scratch` is null or points to `scratch_bytes`.
CygnetStatus cygnet_session_write_picture(struct CygnetSession *session,
                                          uint32_t index,
                                          const struct CygnetPicture *picture,
                                          uint8_t *scratch,
                                          size_t scratch_bytes);

// Tells how sound becomes input `index`; CYGNET_STATUS_NOT_PREPARED when the plan does not say.
//
// Owner: `facts` is yours. Threads: any number at a time.
// Pointers: `plan` is null or points to a CygnetPlan, `facts` is null or points to room.
CygnetStatus cygnet_plan_sound(const struct CygnetPlan *plan,
                               uint32_t index,
                               struct CygnetSoundFacts *facts);

// Tells how many numbers of scratch cygnet_session_write_sound() needs for `count` samples at a rate.
//
// Owner: `numbers` is yours. Threads: any number at a time.
// Pointers: `plan` is null or points to a CygnetPlan, `numbers` is null or points to room.
CygnetStatus cygnet_sound_scratch(const struct CygnetPlan *plan,
                                  uint32_t index,
                                  size_t count,
                                  uint32_t sample_rate,
                                  size_t *numbers);

// Sets input `index` from mono sound at `sample_rate` samples a second: brought to the model's rate, turned into
// features and quantized into the arena, as cygnet_plan_sound() tells. What is shorter than a clip is followed by
// silence, of what is longer the loudest clip is taken.
//
// Owner: `samples`, and `scratch` (as many numbers as cygnet_sound_scratch() tells), are yours and not kept.
// Threads: one at a time for this session.
// Pointers: `session` is null or points to a CygnetSession; `samples` is null or points to `count` samples; `scratch`
// is null or points to `scratch_count` numbers.
CygnetStatus cygnet_session_write_sound(struct CygnetSession *session,
                                        uint32_t index,
                                        const int16_t *samples,
                                        size_t count,
                                        uint32_t sample_rate,
                                        float *scratch,
                                        size_t scratch_count);

// Finds the best of `count` scores, the best first; equal ones in the order of their indices, NaN last. `found` tells
// how many: the least of `count`, `capacity` and CYGNET_MAX_ANSWERS.
//
// Owner: scores, answers and `found` are yours. Threads: any number at a time.
// Pointers: `scores` is null or points to `count` numbers, `answers` is null or points to room for `capacity`,
// `found` is null or points to room.
CygnetStatus cygnet_top(const float *scores,
                        size_t count,
                        struct CygnetAnswer *answers,
                        size_t capacity,
                        size_t *found);

// Reads output `index` as probabilities: as it is where the model ends in a softmax or the numbers are probabilities
// already, else through a softmax.
//
// Owner: `values` are yours. Threads: one at a time for this session.
// Pointers: `session` is null or points to a CygnetSession, `values` is null or points to room for `count` numbers.
CygnetStatus cygnet_session_read_probabilities(struct CygnetSession *session,
                                               uint32_t index,
                                               float *values,
                                               size_t count);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CYGNET_H */
