/* The operators at the ends of a UNet call: lookup, timestep embedding, the UNet's input, the sampler's
 * step.  Their arithmetic is exact or a formula of sampler_step.h; what can go wrong is the indexing. */
#include "tests/ops/operator.h"
#include "tests/support/machines.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h> /* needs the above */

static float *values(const dr_tensor *t)
{
    return t->data;
}

static void lookup_adds_table_position_and_what_was_there(void **state)
{
    enum { N = 2, W = 3, C = 5 };
    static const int32_t index[N * W] = { 3, 0, 0, 1, 2, 3 };
    dr_tensor table = random_tensor(1, 1, 4, C, 1), positions = random_tensor(1, 1, W, C, 2);
    dr_tensor y = new_tensor(N, 1, W, C);
    dr_lookup_args a = { .table = values(&table), .index = index, .y = y };

    OPERATE(*state, dr_lookup, &a);
    for (int i = 0; i < N * W; i++)
        assert_memory_equal(values(&y) + i * C, values(&table) + index[i] * C, C * sizeof(float));
    a.positions = values(&positions);
    OPERATE(*state, dr_lookup, &a);
    for (int i = 0; i < N * W * C; i++)
        assert_true(values(&y)[i] ==
                    values(&table)[index[i / C] * C + i % C] + values(&positions)[i % (W * C)]);
    a.positions = NULL;
    for (int i = 0; i < N * W * C; i++)
        values(&y)[i] = (float)i;
    a.accumulate = true;
    OPERATE(*state, dr_lookup, &a);
    for (int i = 0; i < N * W * C; i++)
        assert_true(values(&y)[i] == (float)i + values(&table)[index[i / C] * C + i % C]);
    free(table.data);
    free(positions.data);
    free(y.data);
}

/* A phase of up to 999 in float: 2^-24 of it from the product, as much from the frequency and its
 * exponent, which the reference rounds in the same way: 2e-4. */
static void timestep_embedding_is_sinusoids(void **state)
{
    enum { N = 4, C = 20, HALF = C / 2 };
    static const float timestep[N] = { 0.0f, 1.0f, 499.5f, 999.0f };
    dr_tensor y = new_tensor(N, 1, 1, C);

    for (int flip = 0; flip <= 1; flip++)
        for (int shift = 0; shift <= 1; shift++) {
            OPERATE(*state, dr_timestep_embedding,
                    &(dr_timestep_embedding_args){
                        .timestep = timestep, .y = y, .flip_sin_to_cos = flip, .freq_shift = (float)shift });
            for (int n = 0; n < N; n++)
                for (int i = 0; i < HALF; i++) {
                    const double phase = timestep[n] * exp(-log(10000.0) * i / (HALF - shift));
                    const float *row = values(&y) + n * C;

                    assert_true(fabs(row[flip ? HALF + i : i] - sin(phase)) < 2e-4);
                    assert_true(fabs(row[flip ? i : HALF + i] - cos(phase)) < 2e-4);
                }
        }
    free(y.data);
}

static void unet_input_scales_latents_only(void **state)
{
    enum { SAMPLES = 3, ROWS = 4, H = 2, W = 3, C = 4, E = 5 };
    static const int32_t sample[ROWS] = { 2, 2, 0, 1 };
    static const float scale[ROWS] = { 0.5f, 0.25f, 3.0f, 1.0f };
    dr_tensor latent = random_tensor(SAMPLES, H, W, C, 1), extra = random_tensor(SAMPLES, H, W, E, 2);
    dr_tensor y = new_tensor(ROWS, H, W, C + E), plain = new_tensor(ROWS, H, W, C);
    dr_unet_input_args a = { .latent = latent, .extra = extra, .sample = sample, .scale = scale, .y = y };

    OPERATE(*state, dr_unet_input, &a);
    a.extra = (dr_tensor){ .dtype = DR_F32 };
    a.y = plain;
    OPERATE(*state, dr_unet_input, &a);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < H * W; i++) {
            const float *from = values(&latent) + (sample[r] * H * W + i) * C;
            const float *got = values(&y) + (r * H * W + i) * (C + E);

            for (int j = 0; j < C; j++) {
                assert_true(got[j] == from[j] * scale[r]);
                assert_true(values(&plain)[(r * H * W + i) * C + j] == got[j]);
            }
            assert_memory_equal(got + C, values(&extra) + (sample[r] * H * W + i) * E, E * sizeof(float));
        }
    free(latent.data);
    free(extra.data);
    free(y.data);
    free(plain.data);
}

/* Checks the formula with numbers that were computed by hand.  The test below takes the formula for
 * granted. */
static void a_step_is_its_formula(void **state)
{
    dr_step s = { .m_x = 2, .m_e = -1, .clip = 3 };
    float v[DR_STATES] = { 5, 7, 11, 13, 17 };
    (void)state;

    assert_true(dr_apply_guidance(10, 4, 1) == 10 && dr_apply_guidance(10, 4, 0) == 4 &&
                dr_apply_guidance(10, 4, 3) == 22);
    s.to[DR_STATE_X][DR_TERM_X] = 1;
    s.to[DR_STATE_X][DR_TERM_E] = 10;
    s.to[DR_STATE_X][DR_TERM_M] = 100;
    s.to[DR_STATE_X][DR_TERM_NOISE] = 1000;
    s.to[DR_STATE_H][DR_TERM_H + 1] = 2;
    s.to[DR_STATE_H + 3][DR_TERM_X] = 1;
    s.to[DR_STATE_H + 3][DR_TERM_M] = 1;
    dr_step_value(&s, v, 2, 9); /* m = 2 * 5 - 2, clipped to 3 */
    assert_true(v[0] == 5 + 20 + 300 + 9000 && v[1] == 22 && v[2] == 0 && v[3] == 0 && v[4] == 8);
    v[0] = -4;
    dr_step_value(&s, v, 0.5f, 0); /* m = -8.5, clipped to -3 */
    assert_true(v[0] == -4 + 5 - 300 && v[4] == -7);
    v[0] = 1;
    dr_step_value(&s, v, 0.5f, 0); /* m = 1.5 */
    assert_true(v[0] == 1 + 5 + 150 && v[4] == 2.5f);
}

enum { SAMPLES = 4, ROWS = 5, ACTIVE = 3, H = 3, W = 5, C = 4, MAP = H * W * C };

static dr_step random_step(uint32_t seed, int noise)
{
    dr_step s = { .m_x = 0.5f, .m_e = -1.5f, .clip = 0.75f, .noise = noise };

    for (int i = 0; i < DR_STATES; i++)
        for (int j = 0; j < DR_TERMS; j++)
            s.to[i][j] = random_value(&seed);
    return s;
}

/* Three of four samples step, two of them with guidance.  The sample that takes no part keeps its bits.
 * Values that are not read (the noise of a step without noise) may be anything. */
static void sampler_step_moves_the_active_samples(void **state)
{
    static const int32_t sample[ACTIVE] = { 3, 0, 2 }, cond[ACTIVE] = { 1, 4, 2 },
                         uncond[ACTIVE] = { 0, 4, 3 };
    static const float guidance[ACTIVE] = { 7.5f, 1.0f, 3.0f };
    const dr_step step[ACTIVE] = { random_step(1, 0), random_step(2, 1), random_step(3, 1) };
    dr_tensor output = random_tensor(ROWS, H, W, C, 4), noise = random_tensor(SAMPLES, H, W, C, 5);
    dr_tensor latent = random_tensor(SAMPLES, H, W, C, 6);
    dr_tensor history = random_tensor(SAMPLES * DR_HISTORY_MAX, H, W, C, 7);
    const dr_tensor latent_before = random_tensor(SAMPLES, H, W, C, 6);
    const dr_tensor history_before = random_tensor(SAMPLES * DR_HISTORY_MAX, H, W, C, 7);
    bool moved[SAMPLES] = { false };

    for (int i = 0; i < MAP; i++)
        values(&noise)[sample[0] * MAP + i] = NAN;
    OPERATE(*state, dr_sampler_step,
            &(dr_sampler_step_args){ .output = output,
                                     .active = ACTIVE,
                                     .sample = sample,
                                     .cond_row = cond,
                                     .uncond_row = uncond,
                                     .guidance = guidance,
                                     .step = step,
                                     .latent = latent,
                                     .history = history,
                                     .noise = noise });
    for (int a = 0; a < ACTIVE; a++) {
        const int s = sample[a];

        moved[s] = true;
        for (int i = 0; i < MAP; i++) {
            const float c = values(&output)[cond[a] * MAP + i], u = values(&output)[uncond[a] * MAP + i];
            float v[DR_STATES] = { values(&latent_before)[s * MAP + i] };

            for (int k = 0; k < DR_HISTORY_MAX; k++)
                v[1 + k] = values(&history_before)[(s * DR_HISTORY_MAX + k) * MAP + i];
            dr_step_value(&step[a], v, dr_apply_guidance(c, u, guidance[a]),
                          step[a].noise ? values(&noise)[s * MAP + i] : 0.0f);
            assert_true(values(&latent)[s * MAP + i] == v[0]);
            for (int k = 0; k < DR_HISTORY_MAX; k++)
                assert_true(values(&history)[(s * DR_HISTORY_MAX + k) * MAP + i] == v[1 + k]);
        }
    }
    for (int s = 0; s < SAMPLES; s++)
        if (!moved[s])
            assert_memory_equal(values(&latent) + s * MAP, values(&latent_before) + s * MAP,
                                MAP * sizeof(float));
    free(output.data);
    free(noise.data);
    free(latent.data);
    free(history.data);
    free(latent_before.data);
    free(history_before.data);
}

/* Two of three samples draw noise.  Each gets what one stream gives draw after draw, in torch's order of
 * channels.  Playing a pass again gives the same noise. */
static void check_noise(dr_device *device, int h, int w, int c)
{
    static const int32_t sample[ACTIVE] = { 2, 1, 0 };
    const dr_step step[ACTIVE] = { { .noise = 1 }, { .noise = 0 }, { .noise = 1 } };
    const size_t n = (size_t)(h * w * c), pixels = (size_t)(h * w);
    dr_rng streams[ACTIVE][2], stream[ACTIVE];
    dr_tensor y = random_tensor(ACTIVE, h, w, c, 1), before = random_tensor(ACTIVE, h, w, c, 1);
    float *want = malloc(n * sizeof(*want));

    for (int i = 0; i < ACTIVE; i++) {
        dr_rng_seed(&stream[i], 7 + (uint64_t)i);
        streams[i][0] = stream[i];
    }
    for (int32_t draw = 0; draw < 3; draw++) {
        const int32_t turn[ACTIVE] = { draw % 2, 0, draw % 2 };

        for (int again = 0; again < 2; again++)
            OPERATE(device, dr_noise,
                    &(dr_noise_args){ .active = ACTIVE,
                                      .sample = sample,
                                      .turn = turn,
                                      .step = step,
                                      .stream = &streams[0][0],
                                      .y = y });
        for (int i = 0; i < ACTIVE; i += 2) {
            dr_rng_randn(&stream[i], want, n);
            for (size_t j = 0; j < n; j++)
                assert_true(values(&y)[(size_t)i * n + j % pixels * (size_t)c + j / pixels] == want[j]);
        }
    }
    assert_memory_equal(values(&y) + n, values(&before) + n, n * sizeof(float));
    free(y.data);
    free(before.data);
    free(want);
}

static void noise_is_each_samples_own(void **state)
{
    check_noise(*state, 1, 1, 3); /* fewer than 16: one of a pair is left for the next time */
    check_noise(*state, 4, 1, 4);
    check_noise(*state, 5, 7, 3);
    check_noise(*state, 16, 16, 4);
}

static int run(const machine *m)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(lookup_adds_table_position_and_what_was_there, m->device),
        cmocka_unit_test_prestate(timestep_embedding_is_sinusoids, m->device),
        cmocka_unit_test_prestate(unet_input_scales_latents_only, m->device),
        cmocka_unit_test_prestate(noise_is_each_samples_own, m->device),
        cmocka_unit_test(a_step_is_its_formula),
        cmocka_unit_test_prestate(sampler_step_moves_the_active_samples, m->device),
    };

    return cmocka_run_group_tests_name(m->name, tests, NULL, NULL);
}

int main(void)
{
    return on_each_machine(run);
}
