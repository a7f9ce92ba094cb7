/* models.h - the models directory: a folder for each model, in the diffusers layout. */
#ifndef DR_WORKER_ENGINE_MODELS_H
#define DR_WORKER_ENGINE_MODELS_H

#include "base/error.h"

#include <stddef.h>

typedef struct dr_model_names {
    char **name; /* owned, sorted */
    int count;
} dr_model_names;

/* Those of the folders that have a model_index.json and a name that a job can say (dr_folder_name_valid).  On failure
 * *out is empty. */
dr_status dr_model_names_read(dr_model_names *out, const char *models_dir, dr_error *err);

/* Everything there that somebody may mean as a model: each folder, each link, and files of weights.  Names that begin with a
 * dot are hidden.  A name here may be any bytes. */
dr_status dr_model_entries_read(dr_model_names *out, const char *models_dir, dr_error *err);

void dr_model_names_free(dr_model_names *names); /* an empty one is allowed */

/* "sd15, tiny"; cut where it does not fit. */
void dr_model_names_text(const dr_model_names *names, char *text, size_t size);

/* DR_OK where the entry is a folder that may hold a model; else what it is: a name that no job can say, a link to
 * nothing, a file, a folder without model_index.json, a hub's cache (then where its models are). */
dr_status dr_model_entry_check(const char *models_dir, const char *name, dr_error *err);

#endif
