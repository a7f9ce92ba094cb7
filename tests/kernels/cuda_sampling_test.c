/* The CUDA kernels at the ends of a UNet call (sampling.cu), on the host, against the CPU backend's
 * operators.  Their arithmetic is a sum, a product or a formula of sampler_step.h: what can go wrong is
 * the indexing. */
#include "tests/kernels/cuda_operator.h"

/* Values of up to 4: two half steps of a float there, on each side. */
#define TOLERANCE 1e-6

static void lookup_agrees_with_cpu(void **state)
{
    enum { N = 2, W = 3, ENTRIES = 4, C_MAX = 700 };
    static const int32_t index[N * W] = { 3, 0, 0, 1, 2, 3 };
    static const int channels[] = { 1, 5, 256, C_MAX };
    dr_tensor table = random_tensor(1, 1, ENTRIES, C_MAX, 1), positions = random_tensor(1, 1, W, C_MAX, 2);

    for (size_t i = 0; i < COUNT(channels); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++)
            for (int how = 0; how < 4; how++) { /* bit 0: with positions; bit 1: accumulate */
                const dr_dtype dtype = float_dtypes[d];
                dr_tensor y = random_tensor(N, 1, W, channels[i], 3);
                void *stored = store_tensor(dtype, &y);
                const float *position = how & 1 ? positions.data : NULL;

                shim_seed(i);
                OPERATE(*state, dr_lookup,
                        &(dr_lookup_args){ .table = table.data,
                                           .index = index,
                                           .positions = position,
                                           .y = y,
                                           .accumulate = how & 2 });
                dr_cuda_lookup(NULL, &(dr_cuda_lookup_args){ .dtype = dtype,
                                                             .table = table.data,
                                                             .index = index,
                                                             .positions = position,
                                                             .y = stored,
                                                             .tokens = N * W,
                                                             .w = W,
                                                             .c = channels[i],
                                                             .accumulate = how & 2 });
                assert_shim_is_content();
                assert_true(worst_error(dtype, stored, &y) <= TOLERANCE);
                free(y.data);
                free(stored);
            }
    free(table.data);
    free(positions.data);
}

static void timestep_embedding_agrees_with_cpu(void **state)
{
    static const float timestep[] = { 0.0f, 1.0f, 499.5f, 999.0f };
    static const int channels[] = { 2, 3, 20, 321, 1280 };

    for (size_t i = 0; i < COUNT(channels); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++)
            for (int how = 0; how < 4; how++) {
                const dr_dtype dtype = float_dtypes[d];
                const float freq_shift = how & 1 && channels[i] > 3 ? 1.0f : 0.0f;
                dr_tensor want = new_tensor(COUNT(timestep), 1, 1, channels[i]);
                void *y = new_stored(dtype, tensor_values(&want));

                shim_seed(i);
                OPERATE(*state, dr_timestep_embedding,
                        &(dr_timestep_embedding_args){ .timestep = timestep,
                                                       .y = want,
                                                       .flip_sin_to_cos = how & 2,
                                                       .freq_shift = freq_shift });
                dr_cuda_timestep_embedding(NULL,
                                           &(dr_cuda_timestep_embedding_args){ .dtype = dtype,
                                                                               .timestep = timestep,
                                                                               .y = y,
                                                                               .n = COUNT(timestep),
                                                                               .c = channels[i],
                                                                               .flip_sin_to_cos = how & 2,
                                                                               .freq_shift = freq_shift });
                assert_shim_is_content();
                assert_true(worst_error(dtype, y, &want) <= TOLERANCE);
                free(want.data);
                free(y);
            }
}

static void unet_input_agrees_with_cpu(void **state)
{
    enum { SAMPLES = 3, ROWS = 4, H = 5, W = 13, C = 4 };
    static const int32_t sample[ROWS] = { 2, 2, 0, 1 };
    static const float scale[ROWS] = { 0.5f, 0.25f, 3.0f, 1.0f };
    static const int extras[] = { 0, 1, 5 };
    dr_tensor latent = random_tensor(SAMPLES, H, W, C, 1);

    for (size_t i = 0; i < COUNT(extras); i++)
        for (size_t d = 0; d < COUNT(float_dtypes); d++) {
            const dr_dtype dtype = float_dtypes[d];
            dr_tensor extra = random_tensor(SAMPLES, H, W, extras[i], 2);
            dr_tensor want = new_tensor(ROWS, H, W, C + extras[i]);
            void *y = new_stored(dtype, tensor_values(&want));

            shim_seed(i);
            OPERATE(*state, dr_unet_input,
                    &(dr_unet_input_args){ .latent = latent,
                                           .extra = extras[i] ? extra : (dr_tensor){ .dtype = DR_F32 },
                                           .sample = sample,
                                           .scale = scale,
                                           .y = want });
            dr_cuda_unet_input(NULL, &(dr_cuda_unet_input_args){ .dtype = dtype,
                                                                 .latent = latent.data,
                                                                 .extra = extras[i] ? extra.data : NULL,
                                                                 .sample = sample,
                                                                 .scale = scale,
                                                                 .y = y,
                                                                 .n = ROWS,
                                                                 .pixels = H * W,
                                                                 .c = C,
                                                                 .extra_c = extras[i] });
            assert_shim_is_content();
            assert_true(worst_error(dtype, y, &want) <= TOLERANCE);
            free(extra.data);
            free(want.data);
            free(y);
        }
    free(latent.data);
}

/* The kernels walk through the stream and transform it in another order than the CPU, but by the same
 * formulas.  So the noise has the same bits, and so have the streams afterwards. */
static void check_noise(dr_device *device, int pixels, int c)
{
    enum { SAMPLES = 4, ACTIVE = 3, DRAWS = 4 };
    static const int32_t sample[ACTIVE] = { 3, 0, 2 };
    const dr_step step[ACTIVE] = { { .noise = 1 }, { .noise = 0 }, { .noise = 1 } };
    dr_rng streams[2][SAMPLES][2] = { 0 };
    dr_tensor want = random_tensor(SAMPLES, 1, pixels, c, 1), got = random_tensor(SAMPLES, 1, pixels, c, 1);

    for (int i = 0; i < SAMPLES; i++) {
        dr_rng_seed(&streams[0][i][0], 3 + (uint64_t)i);
        streams[1][i][0] = streams[0][i][0];
    }
    for (int32_t draw = 0; draw < DRAWS; draw++) {
        const int32_t turn[ACTIVE] = { draw % 2, draw % 2, draw % 2 };
        dr_cuda_noise_args a = { .step = step,
                                 .sample = sample,
                                 .turn = turn,
                                 .stream = &streams[1][0][0],
                                 .y = got.data,
                                 .active = ACTIVE,
                                 .pixels = pixels,
                                 .c = c };

        a.words = new_stored(DR_F32, dr_cuda_noise_workspace(&a) / sizeof(float));
        OPERATE(device, dr_noise,
                &(dr_noise_args){ .active = ACTIVE,
                                  .sample = sample,
                                  .turn = turn,
                                  .step = step,
                                  .stream = &streams[0][0][0],
                                  .y = want });
        shim_seed((uint64_t)draw);
        dr_cuda_noise(NULL, &a);
        assert_shim_is_content();
        assert_memory_equal(got.data, want.data, tensor_values(&want) * sizeof(float));
        assert_memory_equal(streams[1], streams[0], sizeof(streams[0]));
        free(a.words);
    }
    free(want.data);
    free(got.data);
}

static void noise_agrees_with_cpu(void **state)
{
    static const int pixels[] = { 1, 3, 4, 5, 35, 156, 157, 1024 }; /* 156 x 4: one state */

    for (size_t i = 0; i < COUNT(pixels); i++)
        for (int c = 3; c <= 4; c++)
            check_noise(*state, pixels[i], c);
}

enum { SAMPLES = 4, ROWS = 5, ACTIVE = 3, H = 9, W = 11, C = 4, MAP = H * W * C };

static dr_step random_step(uint32_t seed, int noise)
{
    dr_step s = { .m_x = 0.5f, .m_e = -1.5f, .clip = 0.75f, .noise = noise };

    for (int i = 0; i < DR_STATES; i++)
        for (int j = 0; j < DR_TERMS; j++)
            s.to[i][j] = random_value(&seed);
    return s;
}

/* Three of four samples step: two of them with guidance, one without noise, whose noise is NaN in memory.
 * The formula calls fmaf() on both sides, so the bits must be equal.  Those of the sample that takes no part
 * must be, too. */
static void sampler_step_agrees_with_cpu(void **state)
{
    static const int32_t sample[ACTIVE] = { 3, 0, 2 }, cond[ACTIVE] = { 1, 4, 2 },
                         uncond[ACTIVE] = { 0, 4, 3 };
    static const float guidance[ACTIVE] = { 7.5f, 1.0f, 3.0f };
    const dr_step step[ACTIVE] = { random_step(1, 0), random_step(2, 1), random_step(3, 1) };
    dr_tensor noise = random_tensor(SAMPLES, H, W, C, 5);

    for (int i = 0; i < MAP; i++)
        ((float *)noise.data)[sample[0] * MAP + i] = NAN;
    for (size_t d = 0; d < COUNT(float_dtypes); d++) {
        dr_tensor output = random_tensor(ROWS, H, W, C, 4);
        void *stored = store_tensor(float_dtypes[d], &output);
        dr_tensor latent[2], history[2];

        for (int i = 0; i < 2; i++) {
            latent[i] = random_tensor(SAMPLES, H, W, C, 6);
            history[i] = random_tensor(SAMPLES * DR_HISTORY_MAX, H, W, C, 7);
        }
        shim_seed(d);
        OPERATE(*state, dr_sampler_step,
                &(dr_sampler_step_args){ .output = output,
                                         .active = ACTIVE,
                                         .sample = sample,
                                         .cond_row = cond,
                                         .uncond_row = uncond,
                                         .guidance = guidance,
                                         .step = step,
                                         .latent = latent[0],
                                         .history = history[0],
                                         .noise = noise });
        dr_cuda_sampler_step(NULL, &(dr_cuda_sampler_step_args){ .dtype = float_dtypes[d],
                                                                 .output = stored,
                                                                 .sample = sample,
                                                                 .cond_row = cond,
                                                                 .uncond_row = uncond,
                                                                 .guidance = guidance,
                                                                 .step = step,
                                                                 .latent = latent[1].data,
                                                                 .history = history[1].data,
                                                                 .noise = noise.data,
                                                                 .active = ACTIVE,
                                                                 .values = MAP });
        assert_shim_is_content();
        assert_memory_equal(latent[1].data, latent[0].data, tensor_values(&latent[0]) * sizeof(float));
        assert_memory_equal(history[1].data, history[0].data, tensor_values(&history[0]) * sizeof(float));
        for (int i = 0; i < 2; i++) {
            free(latent[i].data);
            free(history[i].data);
        }
        free(output.data);
        free(stored);
    }
    free(noise.data);
}

int main(void)
{
    RUN_WITH_CPU("cuda sampling", cmocka_unit_test_prestate(lookup_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(timestep_embedding_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(unet_input_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(noise_agrees_with_cpu, device),
                 cmocka_unit_test_prestate(sampler_step_agrees_with_cpu, device));
}
