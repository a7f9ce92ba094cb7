/* models.h - the models directory: a folder for each model, in the diffusers layout. */
#ifndef DR_WORKER_MODELS_H
#define DR_WORKER_MODELS_H

#include "base/error.h"

#include <stddef.h>

/* Names of the folders that have a model_index.json and a name that a job can say, sorted; at most
 * DR_MODELS_LISTED. */
enum { DR_MODELS_LISTED = 256 };

typedef struct dr_model_names {
    char *name[DR_MODELS_LISTED]; /* owned */
    int count;
} dr_model_names;

dr_status dr_model_names_read(dr_model_names *out, const char *models_dir, dr_error *err);
void dr_model_names_free(dr_model_names *names);

/* "sd15, tiny"; cut where it does not fit. */
void dr_model_names_text(const dr_model_names *names, char *text, size_t size);

#endif
