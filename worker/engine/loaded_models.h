/* loaded_models.h - models by name, kept loaded.
 *
 *     models_dir/NAME -> [place][place]...
 *
 * Each place holds one model.  If all places are taken, the model that was used longest ago is unloaded.
 * If the device's memory is too small for a model, all others are unloaded.  Only the thread that owns the
 * device makes these calls. */
#ifndef DR_WORKER_ENGINE_LOADED_MODELS_H
#define DR_WORKER_ENGINE_LOADED_MODELS_H

#include "worker/jobs/job.h"

typedef struct dr_loaded_models dr_loaded_models;

/* Called before a model is unloaded: nothing may use it any more. */
typedef void dr_before_unload_fn(void *arg, const dr_model *model);

/* Create the list, with so many places.  device and models_dir are borrowed until dr_loaded_models_free().
 * DR_ENOMEM: *out is NULL. */
dr_status dr_loaded_models_create(dr_loaded_models **out, dr_device *device, const char *models_dir,
                                  int places, dr_before_unload_fn *before_unload, void *arg, dr_error *err);

/* Unload all models; NULL is allowed. */
void dr_loaded_models_free(dr_loaded_models *m);

/* The model of that name; NULL: it is not loaded.  It stays loaded until before_unload() is called for it. */
dr_model *dr_loaded_models_find(dr_loaded_models *m, const char *name);

/* The model of that name.  It is loaded if it is not loaded yet, and counts as used now.  On failure
 * *refusal says that the job's model is the reason, and err says why.  A model that could not be loaded is
 * not tried again until its files change. */
dr_status dr_loaded_models_get(dr_loaded_models *m, const char *name, dr_model **out, dr_refusal *refusal,
                               dr_error *err);

/* Unload all models except `keep` (NULL: all), to make room for what `name` needs.  *why is for the log.
 * False: there was no model to unload. */
bool dr_loaded_models_make_room(dr_loaded_models *m, const dr_model *keep, const char *name,
                                const dr_error *why);

/* Whether a model of that name is loaded, or a folder of that name exists.  Whether that folder can be
 * loaded is not known. */
bool dr_loaded_models_has(dr_loaded_models *m, const char *name);

#endif
