/* model_folders.h - the models directory: a folder for each model, in the layout of diffusers.  Any
 * thread. */
#ifndef DR_WORKER_ENGINE_MODEL_FOLDERS_H
#define DR_WORKER_ENGINE_MODEL_FOLDERS_H

#include "base/error.h"

#include <stddef.h>

typedef struct dr_model_names {
    char **name; /* owned, sorted */
    int count;
} dr_model_names;

/* The names of the models in models_dir.  A model is a folder that has a model_index.json, and whose name a
 * job can say (dr_folder_name_valid).  On failure *out is empty.  The caller frees it. */
dr_status dr_model_names_read(dr_model_names *out, const char *models_dir, dr_error *err);

/* The names of everything in models_dir that somebody may think is a model: each folder, each link, and
 * files of weights.  Names that begin with a dot are left out.  A name here may have any bytes.  On failure
 * *out is empty.  The caller frees it. */
dr_status dr_model_entries_read(dr_model_names *out, const char *models_dir, dr_error *err);

/* Free the names; an empty list is allowed. */
void dr_model_names_free(dr_model_names *names);

/* Write the names into text[size], like "sd15, tiny".  The text is cut where it does not fit. */
void dr_model_names_text(const dr_model_names *names, char *text, size_t size);

/* DR_OK: the entry is a folder that may hold a model.  Otherwise err says what it is: a name that no job can
 * say, a link to nothing, a file, a folder without model_index.json, or a hub's cache.  For a cache it also
 * says where the models in it are. */
dr_status dr_model_entry_check(const char *models_dir, const char *name, dr_error *err);

#endif
