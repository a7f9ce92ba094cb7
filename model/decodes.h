/* decodes.h - the pictures of a run that are being decoded, from latents to host memory.
 *
 *     DENOISE   call | latent -> snapshot[i] | call ...        from there on the latent may change
 *     DECODE                | decode -> rgb -> landing[i]      one after the other
 *     host                                        end: waits for that landing
 *
 * A place i is in use from begin to end, so its snapshot and landing are nobody else's meanwhile. */
#ifndef DR_MODEL_DECODES_H
#define DR_MODEL_DECODES_H

#include "model/model.h"
#include "model/passes.h"

typedef struct dr_decodes {
    const dr_model *model;
    int places;
    dr_tensor snapshot; /* device float32, [places, h, w, c] */
    dr_tensor
        rgb; /* device, one picture, 8 bits; after it, with some padding, whether it is broken (dr_to_rgb8) */
    struct {
        bool used;
        dr_landing *landing; /* rgb and what follows */
    } place[DR_SAMPLES_MAX];
} dr_decodes;

/* Shapes only; latents: as the run has them, a row for each place. */
dr_decodes dr_decodes_shape(const dr_model *model, dr_tensor latents);
size_t dr_decodes_bytes(const dr_decodes *s); /* of device memory */

dr_status dr_decodes_init(dr_decodes *s, dr_error *err); /* of one that has its shape */
void dr_decodes_free(dr_decodes *s); /* a zeroed one is allowed; the device is done with it */

dr_status dr_decodes_plan(dr_decodes *s, dr_passes *passes, dr_error *err);

/* latent: one row, dense, written on the denoising lane.  A place must be free.  After a failure it still is. */
dr_status dr_decodes_begin(dr_decodes *s, dr_passes *passes, dr_tensor latent, int *place, dr_error *err);
bool dr_decodes_ready(const dr_decodes *s, int place); /* ending it would not wait */
/* DR_EUNSUPPORTED: its values are infinite or no numbers, which as 8-bit colours would look like a picture. */
dr_status dr_decodes_end(dr_decodes *s, int place, uint8_t *rgb /* or NULL */, dr_error *err);

#endif
