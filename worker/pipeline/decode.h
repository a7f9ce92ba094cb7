/* decode.h - the pictures of a batch, which the engine decodes while the next batch runs.
 *
 *     batch A    step step step | begin pictures
 *     batch B                   | step   step            step ... step | begin pictures
 *                                      ^ those of A that are ready ... ^ the rest of them
 *
 * So the device never waits for a copy, for an encoder or for the end of a job, and the pictures of at most
 * two batches are held.  Everything here is the denoise thread's, and is called without the lock. */
#ifndef DR_WORKER_PIPELINE_DECODE_H
#define DR_WORKER_PIPELINE_DECODE_H

#include "worker/pipeline/work.h"

enum { DR_DECODES_MAX = 2 * DR_SAMPLES_MAX };

/* The engine, and the pictures that it decodes: the oldest first. */
typedef struct dr_decoder {
    dr_works *works;
    dr_engine *engine; /* owned by the denoise thread */
    int count;
    struct {
        dr_work *work;
        int image;   /* which picture of the job */
        int picture; /* the engine's name for it */
    } under_way[DR_DECODES_MAX];
} dr_decoder;

/* The sample, which is this image of a RUNNING work, is developed: begin to decode it.  On failure the
 * sample is still the engine's, and the caller tells the work. */
dr_status dr_decoder_begin(dr_decoder *d, dr_work *work, int image, int sample, dr_error *err);

/* Take the pictures that are ready into their works, as far as there is room for the works that they
 * complete.  A picture that cannot be taken fails its work. */
void dr_decoder_take_ready(dr_decoder *d);

/* Take every picture: wait for each, and for room. */
void dr_decoder_take_all(dr_decoder *d);

/* The batch of a RUNNING work has ended: the work is FINISHING, now or when its last picture is taken. */
void dr_decoder_end_batch(dr_decoder *d, dr_work *work);

#endif
