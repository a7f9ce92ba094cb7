/* render_models.h - whether jobs that were done before were drawn with the weights that their models have now.
 *
 * A model's fingerprint is read from its files, once for each model and without loading it.
 *
 * Threads: the caller's lock. */
#ifndef DR_WORKER_RENDER_RENDER_MODELS_H
#define DR_WORKER_RENDER_RENDER_MODELS_H

#include <stdbool.h>

typedef struct dr_render_models dr_render_models;

/* models_dir is borrowed; NULL: there are no weights (the null device), and nothing is compared.  NULL: no memory. */
dr_render_models *dr_render_models_open(const char *models_dir);
void dr_render_models_close(dr_render_models *m); /* NULL is allowed */

/* Is this, of a line in results.jsonl, the fingerprint that the model has now?  Yes where it can't be told: its files can't be
 * read.  *note: what a person has to know about that, or about weights that were replaced; once for each model, else
 * NULL.  It lives as long as the handle. */
bool dr_render_models_match(dr_render_models *m, const char *model, const char *fingerprint,
                            const char **note);

#endif
