/* noise.cu - the noise that samplers add, drawn from each sample's own stream: torch's (rng.h), in two
 * launches.
 *
 *     words     a block for each sample walks through the stream, 227 words of a state at a time: they depend
 *               only on words that are there already
 *     numbers   a thread for each pair
 *
 * A latent of 64 x 64 x 4 takes 27 states, one after the other.  So this is the one part of a step that more
 * multiprocessors do not make faster.  The logarithms and cosines, in double, are spread over all of them. */
#include "kernels/cuda_device.h"

enum {
    THREADS = 256,
    RUN = DR_RNG_WORDS - DR_RNG_MIDDLE, /* words of a state that are made at once */
    PAIRS = DR_RNG_BLOCK / 2,
};

static_assert(RUN <= THREADS, "a thread for each word of a run");

typedef struct noise {
    dr_cuda_noise_args a;
    int values; /* values of a row: pixels * c */
    int words;  /* words of the stream that the values take */
} noise;

/* Where number i of the stream goes. torch draws [c, pixels], but here channels lie last. */
static __device__ __forceinline__ float *number(const noise &k, int sample, int i)
{
    return k.a.y + (size_t)sample * (size_t)k.values + (size_t)(i % k.a.pixels) * (size_t)k.a.c +
           i / k.a.pixels;
}

/* --- words --------------------------------------------------------------------------------------- */

/* All threads of the block together put the next state in place of this one. */
static __device__ void next_state(uint32_t *s)
{
    for (int first = 0; first < DR_RNG_WORDS; first += RUN) {
        const int i = first + (int)threadIdx.x;
        const bool mine = (int)threadIdx.x < RUN && i < DR_RNG_WORDS;
        const uint32_t word =
            mine ? dr_rng_twist(s[i], s[(i + 1) % DR_RNG_WORDS], s[(i + DR_RNG_MIDDLE) % DR_RNG_WORDS]) : 0;

        __syncthreads();
        if (mine)
            s[i] = word;
        __syncthreads();
    }
}

/* For fewer than DR_RNG_BLOCK numbers.  Only toy models have maps that small, so this need not be fast. */
static __device__ void draw_few(const noise &k, int sample, dr_rng *rng)
{
    for (int i = 0; i < k.values; i++)
        *number(k, sample, i) = dr_rng_normal(rng);
}

/* Grid: active samples. */
static __global__ __launch_bounds__(THREADS) void noise_words(noise k)
{
    const int sample = k.a.sample[blockIdx.x], turn = k.a.turn[blockIdx.x];
    const dr_rng *from = k.a.stream + 2 * sample + turn;
    dr_rng *to = k.a.stream + 2 * sample + !turn, *rng = (dr_rng *)dr_shared();
    uint32_t *words = k.a.words + (size_t)blockIdx.x * (size_t)k.words;

    if (!k.a.step[blockIdx.x].noise)
        return;
    for (int i = (int)threadIdx.x; i < DR_RNG_WORDS; i += THREADS)
        rng->state[i] = from->state[i];
    if (threadIdx.x == 0) {
        rng->has_cached = from->has_cached;
        rng->cached = from->cached;
        rng->next = from->next;
    }
    __syncthreads();
    if (k.values < DR_RNG_BLOCK) {
        if (threadIdx.x == 0)
            draw_few(k, sample, rng);
        __syncthreads();
    } else {
        int next = rng->next, count;

        for (int done = 0; done < k.words; done += count, next += count) {
            if (next == DR_RNG_WORDS) {
                next_state(rng->state);
                next = 0;
            }
            count = DR_RNG_WORDS - next < k.words - done ? DR_RNG_WORDS - next : k.words - done;
            for (int i = (int)threadIdx.x; i < count; i += THREADS)
                words[done + i] = dr_rng_temper(rng->state[next + i]);
        }
        __syncthreads(); /* all threads have read where the stream began */
        if (threadIdx.x == 0)
            rng->next = next;
        __syncthreads();
    }
    for (int i = (int)threadIdx.x; i < (int)(sizeof(*rng) / sizeof(uint32_t)); i += THREADS)
        ((uint32_t *)to)[i] = ((const uint32_t *)rng)[i];
}

/* --- numbers ------------------------------------------------------------------------------------- */

/* Grid: pairs, active samples.  If `values` is no multiple of 16, the last block of 16 numbers overlaps
 * the block before.  The last block then computes the numbers that both would write. */
static __global__ __launch_bounds__(THREADS) void noise_numbers(noise k)
{
    const int pair = (int)blockIdx.x * THREADS + (int)threadIdx.x;
    const int sample = k.a.sample[blockIdx.y], first = pair / PAIRS * DR_RNG_BLOCK + pair % PAIRS;
    const uint32_t *words = k.a.words + (size_t)blockIdx.y * (size_t)k.words;
    const int whole = k.values / DR_RNG_BLOCK * DR_RNG_BLOCK, tail = k.values - whole;
    const bool last = first >= whole;
    const int word = last ? first + tail : first, at = last ? word - DR_RNG_BLOCK : first;
    const int end = last || !tail ? k.values : k.values - DR_RNG_BLOCK;
    float cosine, sine;

    if (!k.a.step[blockIdx.y].noise || word + PAIRS >= k.words)
        return;
    dr_rng_pair(words[word], words[word + PAIRS], &cosine, &sine);
    if (at < end)
        *number(k, sample, at) = cosine;
    if (at + PAIRS < end)
        *number(k, sample, at + PAIRS) = sine;
}

/* --- launches ------------------------------------------------------------------------------------- */

static noise noise_of(const dr_cuda_noise_args *a)
{
    const int values = (int)dr_items((size_t)a->pixels * (size_t)a->c);

    return { *a, values, values < DR_RNG_BLOCK ? 0 : (int)dr_items(dr_rng_words((size_t)values)) };
}

size_t dr_cuda_noise_workspace(const dr_cuda_noise_args *a)
{
    return (size_t)a->active * (size_t)noise_of(a).words * sizeof(uint32_t);
}

void dr_cuda_noise(dr_stream stream, const dr_cuda_noise_args *a)
{
    const noise k = noise_of(a);

    if (a->active == 0 || k.values == 0)
        return;
    dr_launch(stream, DR_KERNEL(noise_words), dim3((unsigned)a->active), THREADS, sizeof(dr_rng), k);
    if (k.words)
        dr_launch(stream, DR_KERNEL(noise_numbers),
                  dim3(dr_blocks((size_t)k.words / 2, THREADS), (unsigned)a->active), THREADS, 0, k);
}
