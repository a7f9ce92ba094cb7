/* backend.h - what a backend fills in: a table of functions, and the handles that begin its own.
 *
 * The files of ops, from the bottom up.  Each calls only those before it (tests/circles.sh):
 *
 *     tensor, arena, options     know no device
 *     ops, lanes                 check arguments and call through the device's table
 *     meter                      reads marks of the lanes
 *     cpu/, cuda/                the backends
 *     device                     opens one of them
 *
 * An operator of a backend is called in both modes.  While p->planning it takes and releases the scratch that
 * it will take, prepares what the shape needs, and touches no data.  Afterwards it allocates nothing outside
 * the arena.  It fills p->error and returns its status.  ops.c has checked its arguments.
 *
 * Only ops/ and its backends include this; tests and benchmarks do too, to put a function of their own into
 * the table. */
#ifndef DR_OPS_BACKEND_H
#define DR_OPS_BACKEND_H

#include "ops/ops.h"

typedef struct dr_meter dr_meter; /* ops/meter.h */

/* As ops/lanes.h has them.  lane and on are never the same.  Pinned memory is freed before the device is
 * closed. */
typedef struct dr_lanes_backend {
    dr_status (*wait)(dr_device *device, dr_lane lane, dr_lane on, dr_error *err);
    dr_status (*drain)(dr_device *device, dr_error *err);
    dr_status (*upload)(dr_device *device, dr_lane lane, void *to, const void *host, size_t bytes,
                        dr_error *err);
    dr_status (*land)(dr_device *device, dr_lane lane, void *pinned, const void *from, size_t bytes,
                      dr_error *err);
    dr_status (*pinned_alloc)(void **out, dr_device *device, size_t bytes, dr_error *err);
    void (*pinned_free)(dr_device *device, void *pinned);
    dr_status (*mark_create)(dr_mark **out, dr_device *device, dr_error *err);
    void (*mark_free)(dr_mark *mark);
    dr_status (*mark_set)(dr_mark *mark, dr_lane lane, dr_error *err);
    dr_status (*mark_wait)(dr_mark *mark, dr_error *err);
    dr_status (*mark_reached)(dr_mark *mark, bool *reached, dr_error *err);
    dr_status (*mark_seconds)(const dr_mark *begin, const dr_mark *end, double *seconds, dr_error *err);
} dr_lanes_backend;

/* The operators.  Each has its dr_NAME_args.  A test that lets each fail in turn reads this list too. */
#define DR_OPERATORS(X) \
    X(linear)           \
    X(conv2d)           \
    X(group_norm)       \
    X(layer_norm)       \
    X(attention)        \
    X(geglu)            \
    X(activate)         \
    X(scale)            \
    X(concat) X(gather) X(lookup) X(timestep_embedding) X(unet_input) X(noise) X(sampler_step) X(to_rgb8)

typedef struct dr_backend {
    const char *name;
    const dr_lanes_backend *lanes; /* NULL: it has none */

    void (*close)(dr_device *device);
    size_t (*memory_left)(const dr_device *device); /* NULL: it has no memory of its own */
    dr_status (*alloc)(void **out, dr_device *device, size_t bytes, dr_error *err);
    void (*free)(dr_device *device, void *memory);
    dr_status (*upload)(dr_device *device, void *to, const void *host, size_t bytes, dr_error *err);
    dr_status (*download)(dr_device *device, void *host, const void *from, size_t bytes, dr_error *err);
    dr_status (*zero)(dr_device *device, void *memory, size_t bytes, dr_error *err);

    /* All four or none. */
    dr_status (*recording_begin)(dr_device *device, dr_error *err);
    dr_status (*recording_end)(dr_recording **out, dr_device *device, dr_error *err);
    dr_status (*recording_play)(dr_recording *recording, dr_error *err);
    void (*recording_free)(dr_recording *recording);

    dr_status (*linear_create)(dr_linear **out, dr_device *device, const dr_linear_desc *desc, dr_error *err);
    void (*linear_free)(dr_linear *linear);
    dr_status (*conv_create)(dr_conv **out, dr_device *device, const dr_conv_desc *desc, dr_error *err);
    void (*conv_free)(dr_conv *conv);

    /* Bytes of statistics that the operator can leave for a->norm_groups; 0: none.  NULL: it never can. */
    size_t (*conv2d_stats)(const dr_conv2d_args *a);
    size_t (*concat_stats)(const dr_concat_args *a);

#define DR_OPERATOR_MEMBER(name) dr_status (*name)(dr_pass * p, const dr_##name##_args *a);
    DR_OPERATORS(DR_OPERATOR_MEMBER)
#undef DR_OPERATOR_MEMBER
} dr_backend;

/* A backend's device, layer handles begin with these. */
struct dr_device {
    const dr_backend *backend;
    dr_meter *meter;   /* ops/device.c's; NULL: nobody measures */
    bool is_recording; /* ops/device.c's: between the begin of a recording and its end */
    dr_dtype activation_dtype;
    char description[320];
    char arithmetic[DR_ARITHMETIC_BYTES];
    char why[DR_ERROR_TEXT_MAX + 8]; /* ops/device.c's */
    char
        note[DR_ERROR_TEXT_MAX + 80]; /* of what does not stop a backend; `noted` until somebody has had it */
    bool noted;
};

struct dr_recording {
    dr_device *device;
};

struct dr_mark {
    dr_device *device;
    double set_s; /* without lanes: when, by the host's clock */
};

struct dr_linear {
    dr_device *device;
    int in, out;
    bool eight_bits; /* of x and the weight */
    size_t bytes;    /* packed */
};

struct dr_conv {
    dr_device *device;
    int in, out, kernel, stride;
    dr_padding padding;
    bool upsample;
    bool eight_bits; /* of x and the weight */
    size_t bytes;    /* packed */
};

/* ops/cpu */
dr_status dr_cpu_device_open(dr_device **out, const dr_device_options *options, dr_error *err);

/* ops/cuda, or ops/cuda_absent.c where that was not built.  ordinal: as in "cuda:N"; DR_CUDA_ANY: the first
 * that can be used, or why the first that is there can't.  DR_EUNSUPPORTED, DR_ENOTFOUND, DR_ENOMEM,
 * DR_EDEVICE. */
enum { DR_CUDA_ANY = -1 };
dr_status dr_cuda_device_open(dr_device **out, const dr_device_options *options, int ordinal, dr_error *err);

#endif
