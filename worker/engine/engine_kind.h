/* engine_kind.h - a kind of engine, as a table of functions.  Only files of this folder include it.
 *
 * Each function does what dr_engine_NAME() does, where NAME is its own name (worker/engine/engine.h).
 * self is the pointer that open gave. */
#ifndef DR_WORKER_ENGINE_ENGINE_KIND_H
#define DR_WORKER_ENGINE_ENGINE_KIND_H

#include "worker/engine/engine.h"

typedef struct dr_engine_kind {
    dr_status (*check_device)(const dr_engine_options *options, dr_error *err);
    dr_status (*models)(const dr_engine_options *options, dr_error *err);
    bool (*has_model)(void *self, const char *name);
    dr_status (*open)(void **self, const dr_engine_options *options, dr_error *err);
    void (*close)(void *self);
    int (*batch_max)(void *self, const dr_job *job);
    dr_status (*prepare)(void *self, dr_job *job, dr_refusal *refusal, dr_error *err);
    dr_status (*begin)(void *self, const dr_job *first, int samples, dr_error *err);
    dr_status (*add)(void *self, const dr_job *job, int image, int *sample, dr_error *err);
    dr_status (*step)(void *self, bool *more, dr_error *err);
    dr_progress (*progress)(void *self, int sample);
    void (*drop)(void *self, int sample);
    dr_status (*begin_picture)(void *self, int sample, int *picture, dr_error *err);
    bool (*picture_ready)(void *self, int picture);
    dr_status (*end_picture)(void *self, int picture, uint8_t *rgb, dr_error *err);
    void (*end)(void *self);
    dr_device_load (*load)(void *self);
    void (*pause)(void *self);
    int (*count_tokens)(void *self, const dr_job *job, const char *text, size_t bytes);
    const char *(*fingerprint)(void *self, const dr_job *job);
    const char *(*arithmetic)(void *self);
} dr_engine_kind;

extern const dr_engine_kind dr_engine_model, dr_engine_null;

#endif
