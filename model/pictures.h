/* pictures.h - pictures of a run on their way from latents to the host, beside the steps that follow.
 *
 *     DENOISE   call | latent -> snapshot[i] | call ...        from there on the latent may change
 *     DECODE                | decode -> rgb -> landing[i]      one after the other
 *     host                                        take: waits for that landing
 *
 * A place i is in use from begin to take, so its snapshot and landing are nobody else's meanwhile. */
#ifndef DR_MODEL_PICTURES_H
#define DR_MODEL_PICTURES_H

#include "model/model.h"
#include "model/passes.h"

typedef struct dr_pictures {
    const dr_model *model;
    int places;
    dr_tensor snapshot; /* device float32, [places, h, w, c] */
    dr_tensor
        rgb; /* device, one picture, 8 bits; after it, with some padding, whether it is broken (dr_to_rgb8) */
    struct {
        bool used;
        dr_landing *landing; /* rgb and what follows */
    } place[DR_SAMPLES_MAX];
} dr_pictures;

/* Shapes only; latents: as the run has them, a row for each place. */
dr_pictures dr_pictures_shape(const dr_model *model, dr_tensor latents);
size_t dr_pictures_bytes(const dr_pictures *s); /* of device memory */

dr_status dr_pictures_init(dr_pictures *s, dr_error *err); /* of one that has its shape */
void dr_pictures_free(dr_pictures *s); /* a zeroed one is allowed; the device is done with it */

dr_status dr_pictures_plan(dr_pictures *s, dr_passes *passes, dr_error *err);

/* latent: one row, dense, written on the denoising lane.  A place must be free.  After a failure it still is. */
dr_status dr_pictures_begin(dr_pictures *s, dr_passes *passes, dr_tensor latent, int *place, dr_error *err);
bool dr_pictures_ready(const dr_pictures *s, int place); /* taking it would not wait */
/* DR_EUNSUPPORTED: its values are infinite or no numbers, which as 8-bit colours would look like a picture. */
dr_status dr_pictures_take(dr_pictures *s, int place, uint8_t *rgb /* or NULL */, dr_error *err);

#endif
