/* cuda_conv_store.h - stores a block's sums in y, and computes the moments for a group norm.
 *
 * A TILE is [M, N] of Y, divided among WARPS_M by WARPS_N warps.  Each warp has [WARP_M, WARP_N]: 16
 * pixels at a time, which need not be neighbours (pixel_of()).  The sums of these pixels are in a warp's
 * registers as mma and wgmma leave them (cuda_ptx.h).  All of the block's shared memory, SHARED_BYTES, is
 * free for the sums. */
#ifndef DR_KERNELS_CUDA_CONV_STORE_H
#define DR_KERNELS_CUDA_CONV_STORE_H

#include "kernels/cuda_conv_moments.h"

/* A warp's sums go through shared memory, 16 pixels at a time.  From there a lane reads neighbouring
 * outputs. */
template <typename T, typename TILE>
static __device__ __forceinline__ void store(const conv<T> &a,
                                             const float (&sums)[TILE::WARP_M / 16][TILE::WARP_N / 2],
                                             int first_pixel, int first_out)
{
    constexpr int CHUNKS = TILE::WARP_N / CHUNK, LD = TILE::WARP_N + 8; /* writes use all banks */
    constexpr int FLOATS = TILE::WARPS_M * TILE::WARPS_N * 16 * LD;
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int share = warp / TILE::WARPS_N;
    const int first_channel = warp % TILE::WARPS_N * TILE::WARP_N, channel = first_out + first_channel;
    float *at = (float *)dr_shared() + warp * 16 * LD;
    channel_sums<TILE::WARP_N> channels = {};

    static_assert((FLOATS + tile_moments<TILE::M, TILE::N, TILE::WARPS_M>::FLOATS) * sizeof(float) <=
                      TILE::SHARED_BYTES,
                  "sums fit where the stages were");

#pragma unroll
    for (int i = 0; i < TILE::WARP_M / 16; i++) {
        const int pixel = first_pixel + TILE::pixel_of(share, i);

#pragma unroll
        for (int j = 0; j < TILE::WARP_N / 8; j++) {
            const float *s = sums[i] + 4 * j;
            float *to = at + lane / 4 * LD + j * 8 + lane % 4 * 2;

            dr_save<2>(to, dr_pack<float, 2>{ { s[0], s[1] } });
            dr_save<2>(to + 8 * LD, dr_pack<float, 2>{ { s[2], s[3] } });
        }
        __syncwarp();
#pragma unroll 1
        for (int c = lane; c < 16 * CHUNKS; c += 32)
            finish_chunk(a, at + c / CHUNKS * LD + c % CHUNKS * CHUNK, pixel + c / CHUNKS,
                         channel + c % CHUNKS * CHUNK);
        __syncwarp();
        if (a.parts) {
            add_pixels<16>(channels, at, LD, i == 0);
            __syncwarp();
        }
    }
    if (a.parts) {
        const auto tile = tile_moments_at<TILE::M, TILE::N, TILE::WARPS_M>(FLOATS);

        put_channels(tile, channels, share, first_channel);
        __syncthreads();
        leave_parts(a, tile, first_pixel, first_out);
    }
}

#endif
