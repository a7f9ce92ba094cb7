/* decodes.h - the pictures of a run that are being decoded, from latents to host memory.
 *
 *     DENOISE   call | latent -> snapshot[i] | call ...        from there on the latent may change
 *     DECODE                | decode -> rgb -> landing[i]      one after the other
 *     host                                        end: waits for that landing
 *
 * Each picture has a place i, with a snapshot and a landing, from begin to end.
 *
 * Threads: the device's own. */
#ifndef DR_MODEL_DECODES_H
#define DR_MODEL_DECODES_H

#include "model/model.h"
#include "model/passes.h"

typedef struct dr_decodes {
    const dr_model *model; /* borrowed */
    int places;
    int in_use;         /* how many places are in use */
    dr_tensor snapshot; /* device float32, [places, h, w, c] */
    /* Device, [1, f h, f w, 3], 8 bits.  After it, with some padding, is dr_to_rgb8()'s `broken`. */
    dr_tensor rgb;
    struct {
        bool used;
        dr_landing *landing; /* of rgb and what follows it */
    } place[DR_SAMPLES_MAX];
} dr_decodes;

/* Decodes of the run's latents [places, h, w, c], as shapes without memory. */
dr_decodes dr_decodes_shape(const dr_model *model, dr_tensor latents);

/* Bytes of device memory that dr_decodes_init() takes. */
size_t dr_decodes_bytes(const dr_decodes *s);

/* Take memory for *s, which dr_decodes_shape() made.  dr_decodes_free() ends *s, also after a failure. */
dr_status dr_decodes_init(dr_decodes *s, dr_error *err);

/* A zeroed one is allowed.  The device must be done with it: dr_lanes_drain(). */
void dr_decodes_free(dr_decodes *s);

/* Plan both passes.  Takes no memory. */
dr_status dr_decodes_plan(dr_decodes *s, dr_passes *passes, dr_error *err);

/* Begin to decode a latent [1, h, w, c], dense, written on the denoising lane.  A place must be free.
 * *place names the picture until dr_decodes_end().  After a failure the place is still free. */
dr_status dr_decodes_begin(dr_decodes *s, dr_passes *passes, dr_tensor latent, int *place, dr_error *err);

/* True: dr_decodes_end() would not wait. */
bool dr_decodes_ready(const dr_decodes *s, int place);

/* Wait for a picture, copy it to rgb, [f h, f w, 3] (NULL is allowed), and free its place, also on a
 * failure.  DR_EUNSUPPORTED: its values are infinite or not a number; as 8-bit colours they would still
 * look like a picture. */
dr_status dr_decodes_end(dr_decodes *s, int place, uint8_t *rgb, dr_error *err);

#endif
