/* Compares every operator that is no product, on a GPU in either storage type, with the CPU backend in
 * float32.  Compares a row alone with the same row among others, bit by bit.  (products_test.c has the
 * others.)
 *
 * A tolerance is the error that is allowed beyond the rounding of the result. */
#include "tests/gpu/machine.h"
#include "tests/gpu/side.h"
#include "tests/support/support.h"

#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* A float's half step near 4 is 2.4e-7.  Values come from up to ten float32 roundings on either side, and
 * from functions (exp, erf, 1 / sqrt) that a GPU computes to two steps and the host to one. */
#define ARITHMETIC 1e-5

#define EXACT 0.0 /* the result is rounded once, from the same number on both sides */

typedef struct shape {
    int n, h, w, c;
    int other; /* what the operator says */
    bool flag;
} shape;

/* Runs the case of each shape; `other` is for the message only. */
static void check_all(void **state, const char *name, side_case *run, const shape *shapes, size_t count,
                      double tolerance)
{
    const side_pair *p = *state;

    for (size_t i = 0; i < count; i++) {
        char what[128];

        snprintf(what, sizeof(what), "%s, [%d, %d, %d, %d], %d", name, shapes[i].n, shapes[i].h, shapes[i].w,
                 shapes[i].c, shapes[i].other);
        side_check(p, run, &shapes[i], shapes[i].n, tolerance, what);
    }
}

/* --- norms ---------------------------------------------------------------------------------- */

SIDE_BODY(dr_group_norm)
SIDE_BODY(dr_layer_norm)

/* other: groups; flag: with SiLU, in place */
static const shape group_norms[] = {
    { 1, 1, 1, 1, 1, false },  { 2, 1, 1, 6, 3, true },    { 3, 5, 7, 9, 3, true },
    { 2, 8, 8, 27, 3, false }, { 2, 9, 5, 320, 32, true }, { 1, 17, 31, 64, 32, true },
    { 2, 3, 3, 96, 1, false }, { 2, 64, 48, 24, 4, true },
};

static void run_group_norm(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_norm norm = { .gamma = side_vector(s, (size_t)q->c, 1.0f),
                           .beta = side_vector(s, (size_t)q->c, 1.0f),
                           .c = q->c,
                           .groups = q->other,
                           .eps = 1e-5f };
    const dr_tensor x = side_tensor(s, s->rows, q->h, q->w, q->c, 2.0f);
    const dr_tensor y = q->flag ? x : side_tensor(s, s->rows, q->h, q->w, q->c, 1.0f);

    side_run(s, play_dr_group_norm, &(dr_group_norm_args){ .x = x, .y = y, .norm = &norm, .silu = q->flag });
    side_keep(s, y);
}

/* A group of one value has no variance.  So an error of 1e-7 of the value is divided by sqrt(eps). */
static void group_norm(void **state)
{
    check_all(state, "group norm", run_group_norm, group_norms, COUNT(group_norms), ARITHMETIC);
}

/* A group norm asks for memory for its sums, and says so if that memory is missing. */
static void group_norm_misses_its_memory(void **state)
{
    const side_pair *p = *state;
    side s = side_begin(p->gpu, p->storage, 0, 1);
    const dr_norm norm = { .gamma = side_vector(&s, 32, 1.0f),
                           .beta = side_vector(&s, 32, 1.0f),
                           .c = 32,
                           .groups = 4,
                           .eps = 1e-5f };
    const dr_tensor x = side_tensor(&s, 1, 64, 64, 32, 2.0f);

    starve_pass(s.device, play_dr_group_norm, &(dr_group_norm_args){ .x = x, .y = x, .norm = &norm });
    side_end(&s);
}

static const shape layer_norms[] = {
    { 1, 1, 1, 1, 0, false },  { 2, 1, 77, 33, 0, true },   { 3, 5, 7, 9, 0, false },
    { 2, 1, 9, 320, 0, true }, { 2, 1, 3, 1280, 0, false }, { 1, 1, 2, 1281, 0, true },
};

static void run_layer_norm(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_norm norm = { .gamma = side_vector(s, (size_t)q->c, 1.0f),
                           .beta = side_vector(s, (size_t)q->c, 1.0f),
                           .c = q->c,
                           .eps = 1e-5f };
    const dr_tensor x = side_tensor(s, s->rows, q->h, q->w, q->c, 2.0f);
    const dr_tensor y = q->flag ? x : side_tensor(s, s->rows, q->h, q->w, q->c, 1.0f);

    side_run(s, play_dr_layer_norm, &(dr_layer_norm_args){ .x = x, .y = y, .norm = &norm });
    side_keep(s, y);
}

static void layer_norm(void **state)
{
    check_all(state, "layer norm", run_layer_norm, layer_norms, COUNT(layer_norms), ARITHMETIC);
}

/* --- elementwise ------------------------------------------------------------------------------ */

SIDE_BODY(dr_activate)
SIDE_BODY(dr_geglu)
SIDE_BODY(dr_scale)
SIDE_BODY(dr_to_rgb8)

/* other: the activation; flag: in place */
static const shape activations[] = {
    { 1, 1, 1, 1, DR_ACT_SILU, false },   { 3, 5, 7, 9, DR_ACT_SILU, true },
    { 2, 1, 33, 33, DR_ACT_GELU, false }, { 2, 1, 1, 1281, DR_ACT_QUICK_GELU, true },
    { 2, 9, 11, 64, DR_ACT_GELU, false },
};

static void run_activate(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_tensor x = side_tensor(s, s->rows, q->h, q->w, q->c, 6.0f);
    const dr_tensor y = q->flag ? x : side_tensor(s, s->rows, q->h, q->w, q->c, 1.0f);

    side_run(s, play_dr_activate,
             &(dr_activate_args){ .x = x, .y = y, .activation = (dr_activation)q->other });
    side_keep(s, y);
}

static void activate(void **state)
{
    check_all(state, "activation", run_activate, activations, COUNT(activations), ARITHMETIC);
}

static const shape plain[] = {
    { 1, 1, 1, 1, 0, false },
    { 3, 5, 7, 9, 0, false },
    { 2, 1, 77, 33, 0, false },
    { 2, 3, 5, 1280, 0, false },
};

static void run_geglu(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_tensor x = side_tensor(s, s->rows, q->h, q->w, 2 * q->c, 3.0f);
    const dr_tensor y = side_tensor(s, s->rows, q->h, q->w, q->c, 1.0f);

    side_run(s, play_dr_geglu, &(dr_geglu_args){ .x = x, .y = y });
    side_keep(s, y);
}

static void geglu(void **state)
{
    check_all(state, "GEGLU", run_geglu, plain, COUNT(plain), ARITHMETIC);
}

/* other: 0 within the storage and in place, 1 from float32, 2 to float32 */
static const shape scalings[] = {
    { 2, 5, 7, 9, 0, false },
    { 2, 5, 7, 4, 1, false },
    { 3, 1, 5, 33, 2, false },
    { 1, 1, 1, 1, 0, false },
};

static void run_scale(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_tensor stored = side_tensor(s, s->rows, q->h, q->w, q->c, 3.0f);
    const dr_tensor wide = side_float_tensor(s, s->rows, q->h, q->w, q->c, 3.0f);
    const dr_tensor x = q->other == 1 ? wide : stored, y = q->other == 2 ? wide : stored;

    side_run(s, play_dr_scale, &(dr_scale_args){ .x = x, .y = y, .factor = 0.18215f });
    side_keep(s, y);
}

static void scale(void **state)
{
    check_all(state, "scaling", run_scale, scalings, COUNT(scalings), EXACT);
}

static const shape pictures[] = { { 1, 1, 1, 3, 0, false },
                                  { 2, 7, 9, 3, 0, false },
                                  { 2, 40, 24, 3, 0, false } };

/* Has values beyond [-1, 1), too, which are clipped. */
static void run_to_rgb8(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_tensor x = side_tensor(s, s->rows, q->h, q->w, 3, 1.5f);
    const size_t bytes = dr_tensor_pixels(&x) * 3;
    uint8_t *zeros = calloc(bytes, 1);
    dr_tensor y = x;

    y.dtype = DR_U8;
    y.data = (void *)side_upload(s, zeros, bytes);
    free(zeros);
    side_run(s, play_dr_to_rgb8, &(dr_to_rgb8_args){ .x = x, .y = y });
    side_keep(s, y);
}

static void to_rgb8(void **state)
{
    check_all(state, "8-bit colour", run_to_rgb8, pictures, COUNT(pictures), EXACT);
}

/* --- what only moves ---------------------------------------------------------------------------- */

SIDE_BODY(dr_concat)
SIDE_BODY(dr_gather)

/* other: the second one's channels */
static const shape concats[] = {
    { 1, 1, 1, 1, 1, false },
    { 2, 3, 5, 9, 21, false },
    { 2, 4, 4, 64, 32, false },
    { 3, 1, 7, 8, 5, false },
};

static void run_concat(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_tensor a = side_tensor(s, s->rows, q->h, q->w, q->c, 1.0f);
    const dr_tensor b = side_tensor(s, s->rows, q->h, q->w, q->other, 1.0f);
    const dr_tensor y = side_tensor(s, s->rows, q->h, q->w, q->c + q->other, 1.0f);

    side_run(s, play_dr_concat, &(dr_concat_args){ .a = a, .b = b, .y = y });
    side_keep(s, y);
}

static void concat(void **state)
{
    check_all(state, "concatenation", run_concat, concats, COUNT(concats), EXACT);
}

/* There are three source rows for each row i.  It comes from the middle one. */
static void run_gather(side *s, const void *shape_)
{
    const shape *q = shape_;
    const dr_tensor x = side_tensor(s, 3 * s->rows, q->h, q->w, q->c, 1.0f);
    const dr_tensor y = side_tensor(s, s->rows, q->h, q->w, q->c, 1.0f);
    int32_t row[8];

    for (int i = 0; i < s->rows; i++)
        row[i] = 3 * i + 1;
    side_run(s, play_dr_gather, &(dr_gather_args){ .x = x, .row = side_upload(s, row, sizeof(row)), .y = y });
    side_keep(s, y);
}

static void gather(void **state)
{
    check_all(state, "gathering", run_gather, plain, COUNT(plain), EXACT);
}

/* --- the ends of a UNet call ---------------------------------------------------------------------- */

SIDE_BODY(dr_lookup)
SIDE_BODY(dr_timestep_embedding)
SIDE_BODY(dr_unet_input)
SIDE_BODY(dr_noise)
SIDE_BODY(dr_sampler_step)

/* other: 1 with positions, 2 onto what is there, 3 both */
static const shape lookups[] = {
    { 1, 1, 1, 1, 0, false },
    { 2, 1, 77, 33, 1, false },
    { 3, 1, 5, 64, 2, false },
    { 2, 1, 7, 321, 3, false },
};

static void run_lookup(side *s, const void *shape_)
{
    enum { ENTRIES = 5, TOKENS_MAX = 256 };
    const shape *q = shape_;
    const dr_tensor y = side_tensor(s, s->rows, 1, q->w, q->c, 1.0f);
    const float *table = side_vector(s, (size_t)(ENTRIES * q->c), 1.0f);
    const float *positions = side_vector(s, (size_t)(q->w * q->c), 1.0f);
    int32_t index[TOKENS_MAX] = { 0 };

    for (int i = 0; i < s->rows * q->w; i++)
        index[i] = (s->first * q->w + i) * 7 % ENTRIES;
    side_run(s, play_dr_lookup,
             &(dr_lookup_args){ .table = table,
                                .index = side_upload(s, index, sizeof(index)),
                                .positions = q->other & 1 ? positions : NULL,
                                .y = y,
                                .accumulate = q->other & 2 });
    side_keep(s, y);
}

static void lookup(void **state)
{
    check_all(state, "lookup", run_lookup, lookups, COUNT(lookups), ARITHMETIC);
}

/* other: what is subtracted from half the channels; flag: the cosine comes first */
static const shape embeddings[] = {
    { 1, 1, 1, 2, 0, true },
    { 4, 1, 1, 321, 0, false },
    { 4, 1, 1, 320, 1, true },
    { 3, 1, 1, 9, 1, true },
};

static void run_timestep_embedding(side *s, const void *shape_)
{
    static const float timesteps[] = { 0.0f, 999.0f, 499.5f, 1.0f };
    const shape *q = shape_;
    const dr_tensor y = side_tensor(s, s->rows, 1, 1, q->c, 1.0f);
    const float *timestep = side_upload(s, timesteps + s->first, (size_t)s->rows * sizeof(float));

    side_run(s, play_dr_timestep_embedding,
             &(dr_timestep_embedding_args){
                 .timestep = timestep, .y = y, .flip_sin_to_cos = q->flag, .freq_shift = (float)q->other });
    side_keep(s, y);
}

/* An angle of up to 999 is a timestep times an exponential.  Either side computes the exponential to two
 * steps of 2^-24.  The exponential's argument is rounded twice and goes down to -9.2.  So the error is at
 * most 999 x (2 x 2 + 2 x 9.2) x 2^-24. */
static void timestep_embedding(void **state)
{
    check_all(state, "timestep embedding", run_timestep_embedding, embeddings, COUNT(embeddings), 1.4e-3);
}

/* other: extra channels */
static const shape inputs[] = {
    { 1, 1, 1, 4, 0, false },
    { 3, 5, 13, 4, 0, false },
    { 2, 8, 8, 4, 5, false },
    { 4, 3, 7, 4, 3, false },
};

/* There are two samples for each row i.  The row uses the second one. */
static void run_unet_input(side *s, const void *shape_)
{
    static const float scales[] = { 0.5f, 0.7f, 3.0f, 1.0f };
    const shape *q = shape_;
    const dr_tensor latent = side_float_tensor(s, 2 * s->rows, q->h, q->w, q->c, 4.0f);
    const dr_tensor y = side_tensor(s, s->rows, q->h, q->w, q->c + q->other, 1.0f);
    dr_tensor extra = { .dtype = DR_F32 };
    int32_t sample[8];

    if (q->other)
        extra = side_float_tensor(s, 2 * s->rows, q->h, q->w, q->other, 1.0f);
    for (int i = 0; i < s->rows; i++)
        sample[i] = 2 * i + 1;
    side_run(s, play_dr_unet_input,
             &(dr_unet_input_args){ .latent = latent,
                                    .extra = extra,
                                    .sample = side_upload(s, sample, sizeof(sample)),
                                    .scale =
                                        side_upload(s, scales + s->first, (size_t)s->rows * sizeof(float)),
                                    .y = y });
    side_keep(s, y);
}

static void unet_input(void **state)
{
    check_all(state, "the UNet's input", run_unet_input, inputs, COUNT(inputs), EXACT);
}

/* Each sample's stream has already made `other` draws. */
static const shape noises[] = {
    { 1, 1, 1, 3, 0, false },   { 3, 2, 2, 4, 1, false },   { 2, 5, 7, 3, 0, false },
    { 4, 16, 16, 4, 3, false }, { 2, 64, 64, 4, 1, false },
};

/* Draws twice and keeps the second result, which continues the stream after the first one. */
static void run_noise(side *s, const void *shape_)
{
    enum { SAMPLES_MAX = 4 };
    const shape *q = shape_;
    const size_t values = (size_t)(q->h * q->w * q->c);
    const dr_tensor y = side_float_tensor(s, s->rows, q->h, q->w, q->c, 1.0f);
    float *drawn = malloc(values * sizeof(*drawn));
    dr_rng streams[SAMPLES_MAX][2] = { 0 };
    int32_t sample[SAMPLES_MAX];
    dr_step step[SAMPLES_MAX] = { 0 };
    dr_rng *stream;

    for (int i = 0; i < s->rows; i++) {
        sample[i] = i;
        step[i].noise = 1;
        dr_rng_seed(&streams[i][0], (uint64_t)(s->first + i));
        for (int j = 0; j < q->other; j++)
            dr_rng_randn(&streams[i][0], drawn, values);
    }
    stream = (dr_rng *)(uintptr_t)side_upload(s, streams, sizeof(streams));
    for (int32_t draw = 0; draw < 2; draw++) {
        const int32_t turn[SAMPLES_MAX] = { draw, draw, draw, draw };

        side_run(s, play_dr_noise,
                 &(dr_noise_args){ .active = s->rows,
                                   .sample = side_upload(s, sample, sizeof(sample)),
                                   .turn = side_upload(s, turn, sizeof(turn)),
                                   .step = side_upload(s, step, sizeof(step)),
                                   .stream = stream,
                                   .y = y });
    }
    side_keep(s, y);
    free(drawn);
}

/* Both sides compute in double.  A number may differ in its last bit if the last bit of its logarithm or
 * cosine makes it round the other way.  Numbers lie below 8. */
static void noise(void **state)
{
    check_all(state, "noise", run_noise, noises, COUNT(noises), 8 * 0x1p-24);
}

static const shape steps[] = { { 1, 1, 1, 4, 0, false }, { 3, 5, 7, 4, 0, false }, { 2, 8, 8, 4, 0, false } };

/* Each sample has two rows of the UNet's output.  Every second sample has guidance, and every third draws
 * noise. */
static void run_sampler_step(side *s, const void *shape_)
{
    enum { SAMPLES_MAX = 4 };
    const shape *q = shape_;
    const dr_tensor output = side_tensor(s, 2 * s->rows, q->h, q->w, q->c, 1.0f);
    const dr_tensor latent = side_float_tensor(s, s->rows, q->h, q->w, q->c, 4.0f);
    const dr_tensor history = side_float_tensor(s, DR_HISTORY_MAX * s->rows, q->h, q->w, q->c, 1.0f);
    const dr_tensor noise = side_float_tensor(s, s->rows, q->h, q->w, q->c, 3.0f);
    const float *terms = side_host_vector(s, SAMPLES_MAX * DR_STATES * DR_TERMS, 1.0f);
    int32_t sample[SAMPLES_MAX], cond[SAMPLES_MAX], uncond[SAMPLES_MAX];
    float guidance[SAMPLES_MAX];
    dr_step step[SAMPLES_MAX];

    for (int i = 0; i < s->rows; i++) {
        const int who = s->first + i;

        sample[i] = i;
        cond[i] = 2 * i + 1;
        uncond[i] = who % 2 ? 2 * i : 2 * i + 1;
        guidance[i] = who % 2 ? 7.5f : 1.0f;
        step[i] = (dr_step){ .m_x = 0.5f, .m_e = -1.5f, .clip = 2.75f, .noise = who % 3 == 0 };
        memcpy(step[i].to, terms + who * DR_STATES * DR_TERMS, sizeof(step[i].to));
    }
    side_run(s, play_dr_sampler_step,
             &(dr_sampler_step_args){ .output = output,
                                      .active = s->rows,
                                      .sample = side_upload(s, sample, sizeof(sample)),
                                      .cond_row = side_upload(s, cond, sizeof(cond)),
                                      .uncond_row = side_upload(s, uncond, sizeof(uncond)),
                                      .guidance = side_upload(s, guidance, sizeof(guidance)),
                                      .step = side_upload(s, step, sizeof(step)),
                                      .latent = latent,
                                      .history = history,
                                      .noise = noise });
    side_keep(s, latent);
    side_keep(s, history);
}

/* Both sides include the same code, which calls fmaf() explicitly. */
static void sampler_step(void **state)
{
    check_all(state, "sampler step", run_sampler_step, steps, COUNT(steps), EXACT);
}

/* --- running -------------------------------------------------------------------------------------- */

static int run_storage(const char *name, const char *storage)
{
    side_pair pair = side_pair_open(storage, "own");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(group_norm, &pair),
        cmocka_unit_test_prestate(group_norm_misses_its_memory, &pair),
        cmocka_unit_test_prestate(layer_norm, &pair),
        cmocka_unit_test_prestate(activate, &pair),
        cmocka_unit_test_prestate(geglu, &pair),
        cmocka_unit_test_prestate(scale, &pair),
        cmocka_unit_test_prestate(to_rgb8, &pair),
        cmocka_unit_test_prestate(concat, &pair),
        cmocka_unit_test_prestate(gather, &pair),
        cmocka_unit_test_prestate(lookup, &pair),
        cmocka_unit_test_prestate(timestep_embedding, &pair),
        cmocka_unit_test_prestate(unet_input, &pair),
        cmocka_unit_test_prestate(noise, &pair),
        cmocka_unit_test_prestate(sampler_step, &pair),
    };
    const int failed = cmocka_run_group_tests_name(name, tests, NULL, NULL);

    side_pair_close(&pair);
    return failed;
}

/* A worker that starts finds all kernels right, also those that are made for this very device. */
static void the_device_has_nothing_to_tell(void **state)
{
    static const char *const storages[] = { "f16", "bf16" };
    dr_device *device;
    const char *note;
    dr_error err;

    (void)state;
    for (int i = 0; i < 2; i++) {
        if (dr_device_open(&device, &(dr_device_options){ .name = "cuda:0", .storage = storages[i] }, &err))
            fail_msg("%s", err.text);
        note = dr_device_note(device);
        if (note)
            fail_msg("%s", note);
        dr_device_close(device);
    }
}

int main(void)
{
    const struct CMUnitTest opening[] = { cmocka_unit_test(the_device_has_nothing_to_tell) };
    const int absent = machine_begin();

    if (absent)
        return absent;
    return cmocka_run_group_tests_name("opening", opening, NULL, NULL) + run_storage("values in f16", "f16") +
           run_storage("values in bf16", "bf16");
}
