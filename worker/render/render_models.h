/* render_models.h - whether earlier pictures were drawn with the weights that their models have now.
 *
 * A model's fingerprint is read from its files, once for each model and without loading it.
 *
 * Threads: the caller's lock. */
#ifndef DR_WORKER_RENDER_RENDER_MODELS_H
#define DR_WORKER_RENDER_RENDER_MODELS_H

#include <stdbool.h>

typedef struct dr_render_models dr_render_models;

/* models_dir is borrowed; where it is NULL the device draws without weights, and nothing is compared.  The
 * handle is the caller's; NULL: no memory. */
dr_render_models *dr_render_models_open(const char *models_dir);
void dr_render_models_close(dr_render_models *m); /* NULL is allowed */

/* Whether this fingerprint, of a line in results.jsonl, is that of the model's files now.  True also where
 * the files can't be read.  *note is a line for people where weights were replaced or can't be read; once
 * for each model, otherwise NULL. It lives as long as the handle. */
bool dr_render_models_match(dr_render_models *m, const char *model, const char *fingerprint,
                            const char **note);

#endif
