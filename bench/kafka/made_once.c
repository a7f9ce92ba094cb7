/* made_once.c - takes the place of libpng.  It compresses the pixels of the first picture of each size.  Each
 * later picture of that size gets a copy of those bytes.
 *
 * So a worker in this program (bench/kafka/peers.h) shows how fast it is when encoding is not the limit.
 * Everything else is done for each job as usual: the null device makes its pixels up, and each file gets its
 * texts and its hash.  The linker puts __wrap_dr_png_encode() where dr_png_encode() is called (--wrap in the
 * Makefile). */
#include "worker/pictures/png_encode.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SIZES_MAX = 4 /* a row of the benchmark has one size */ };

static struct {
    pthread_mutex_t lock;
    struct {
        int width, height;
        void *bytes;
        size_t size;
    } made[SIZES_MAX];
} once = { .lock = PTHREAD_MUTEX_INITIALIZER };

dr_status __real_dr_png_encode(void **out, size_t *out_size, const uint8_t *rgb, int width, int height,
                               dr_error *err);
dr_status __wrap_dr_png_encode(void **out, size_t *out_size, const uint8_t *rgb, int width, int height,
                               dr_error *err);

dr_status __wrap_dr_png_encode(void **out, size_t *out_size, const uint8_t *rgb, int width, int height,
                               dr_error *err)
{
    dr_status rc = DR_OK;
    int i = 0;

    pthread_mutex_lock(&once.lock);
    while (i < SIZES_MAX && once.made[i].bytes &&
           (once.made[i].width != width || once.made[i].height != height))
        i++;
    dr_assert(i < SIZES_MAX);
    if (!once.made[i].bytes) {
        once.made[i].width = width;
        once.made[i].height = height;
        rc = __real_dr_png_encode(&once.made[i].bytes, &once.made[i].size, rgb, width, height, err);
    }
    const void *bytes = once.made[i].bytes;
    *out_size = once.made[i].size;
    pthread_mutex_unlock(&once.lock);
    *out = rc ? NULL : malloc(*out_size);
    if (*out)
        memcpy(*out, bytes, *out_size);
    else if (!rc)
        rc = dr_fail(err, DR_ENOMEM, "no memory for a picture");
    return rc;
}
