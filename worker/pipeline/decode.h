/* decode.h - the pictures of a batch, which the engine decodes while the next batch runs.
 *
 *     batch A    step step step | begin pictures
 *     batch B                   | step   step            step ... step | begin pictures
 *                                      ^ take pictures of A: those that are ready  ^ the rest
 *
 * So the device never waits for a copy, for an encoder or for the end of a job, and the pictures of at most
 * two batches are held.  Only the denoise thread calls the functions here, without the lock. */
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

/* The sample is developed; it is image number `image` of a RUNNING work.  Begin to decode it.  On failure
 * the engine still has the sample, and the caller tells the work. */
dr_status dr_decoder_begin(dr_decoder *d, dr_work *work, int image, int sample, dr_error *err);

/* Take the pictures that are ready into their works.  A picture that completes a work is taken only if there
 * is room for the work.  A picture that cannot be taken fails its work. */
void dr_decoder_take_ready(dr_decoder *d);

/* Take every picture: wait for each of them, and for room. */
void dr_decoder_take_all(dr_decoder *d);

/* The batch of a RUNNING work has ended: the work is FINISHING, now or when its last picture is taken. */
void dr_decoder_end_batch(dr_decoder *d, dr_work *work);

#endif
