#include "bench/gpu/profile.h"

#include "ops/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The backend of the device while a pass is profiled.  It is the device's own, except for the operators. */
typedef struct profiler {
    dr_backend backend; /* must be first, so that an operator finds the rest */
    const dr_backend *under;
    bench_profile *profile;
    bench_network *network;
} profiler;

typedef dr_status operator_call(const dr_backend *under, dr_pass *p, const void *args);

/* --- one operator ----------------------------------------------------------------------- */

static double time_recording(profiler *f, dr_recording *recording, int plays)
{
    bench *b = f->network->b;
    const double begin = bench_now();
    dr_error err;

    for (int i = 0; i < plays; i++)
        if (dr_recording_play(recording, &err))
            bench_die("operator", &err);
    bench_device_checksum(b, f->network->out, sizeof(float));
    return bench_now() - begin;
}

static dr_recording *record(dr_pass *p, operator_call *call, const dr_backend *under, const void *args,
                            int times)
{
    dr_recording *recording;
    dr_error err;

    if (dr_recording_begin(p->device, &err))
        bench_die("operator", &err);
    for (int i = 0; i < times; i++)
        call(under, p, args);
    if (p->error.status || dr_recording_end(&recording, p->device, &err))
        bench_die("operator", p->error.status ? &p->error : &err);
    return recording;
}

/* Sums that are added into y grow each time.  So the operator is repeated few enough times that they stay far
 * below the largest f16. */
static double time_operator(profiler *f, dr_pass *p, operator_call *call, const void *args)
{
    enum { TIMES = 20, PLAYS = 10 };
    static const double LONG = 5e-3, ENOUGH = 0.2; /* seconds */
    const bool quick = f->network->b->quick;
    dr_recording *one = record(p, call, f->under, args, 1), *many;
    int times = TIMES, plays = PLAYS;
    double seconds;

    time_recording(f, one, 1);
    seconds = time_recording(f, one, 1);
    dr_recording_free(one);
    if (quick)
        return seconds;
    if (seconds > LONG)
        times = 1;
    if (seconds * times * plays > ENOUGH)
        plays = seconds * times > ENOUGH ? 1 : (int)(ENOUGH / (seconds * times));
    many = record(p, call, f->under, args, times);
    time_recording(f, many, 1);
    seconds = time_recording(f, many, plays) / (plays * times);
    dr_recording_free(many);
    return seconds;
}

static void measure(dr_pass *p, const bench_operator *what, operator_call *call, const void *args)
{
    profiler *f = (profiler *)p->device->backend;
    bench_profile *profile = f->profile;
    int i = 0;

    while (i < profile->operators &&
           (strcmp(profile->op[i].kind, what->kind) || strcmp(profile->op[i].shape, what->shape)))
        i++;
    if (i == profile->operators) {
        dr_assert(i < BENCH_OPERATORS_MAX);
        profile->op[profile->operators++] = *what;
        profile->op[i].seconds = time_operator(f, p, call, args);
    }
    profile->op[i].count++;
}

static dr_status timed(dr_pass *p, const bench_operator *what, operator_call *call, const void *args)
{
    measure(p, what, call, args);
    return call(((profiler *)p->device->backend)->under, p, args);
}

/* --- what they are ------------------------------------------------------------------------ */

static double bytes_of(const dr_tensor *t)
{
    return (double)dr_tensor_pixels(t) * t->c * (double)dr_dtype_bytes(t->dtype);
}

static bench_operator product(const char *kind, const dr_tensor *y, int in, double per_value,
                              const char *with)
{
    bench_operator o = { .gflop = 2e-9 * (double)dr_tensor_pixels(y) * y->c * per_value };

    snprintf(o.kind, sizeof(o.kind), "%s", kind);
    snprintf(o.shape, sizeof(o.shape), "[%d, %d, %d] %d -> %d%s", y->n, y->h, y->w, in, y->c, with);
    return o;
}

static bench_operator movement(const char *kind, const dr_tensor *y, double bytes)
{
    bench_operator o = { .gbyte = 1e-9 * bytes };

    snprintf(o.kind, sizeof(o.kind), "%s", kind);
    snprintf(o.shape, sizeof(o.shape), "[%d, %d, %d, %d]", y->n, y->h, y->w, y->c);
    return o;
}

static bench_operator of_linear(const dr_linear_args *a)
{
    return product("linear", &a->y, a->x.c, a->x.c, a->residual ? " + residual" : "");
}

/* Counts the operations of the plain sum, even after an upsampling, where a shorter sum is computed. */
static bench_operator of_conv2d(const dr_conv2d_args *a)
{
    const int kernel = a->conv->kernel;
    const char *kind = a->conv->upsample ? "upsample, conv3x3" : kernel == 3 ? "conv3x3" : "conv1x1";
    const dr_backend *backend = a->conv->device->backend;
    const bool stats = a->norm_groups && backend->conv2d_stats && backend->conv2d_stats(a) > 0;
    char with[32];

    snprintf(with, sizeof(with), "%s%s%s", a->conv->stride == 2 ? ", stride 2" : "",
             a->residual ? " + residual" : "", stats ? ", sums" : "");
    return product(kind, &a->y, a->x.c, (double)kernel * kernel * a->x.c, with);
}

static bench_operator of_attention(const dr_attention_args *a)
{
    bench_operator o = { .gflop = 4e-9 * a->q.n * a->q.w * (double)a->k.w * a->q.c };

    snprintf(o.kind, sizeof(o.kind), "attention d%d", a->q.c / a->heads);
    snprintf(o.shape, sizeof(o.shape), "[%d, %d] of %d, %d heads", a->q.n, a->q.w, a->k.w, a->heads);
    return o;
}

static bench_operator of_group_norm(const dr_group_norm_args *a, bool known)
{
    bench_operator o =
        movement(a->silu ? "group norm, SiLU" : "group norm", &a->y, bytes_of(&a->x) + bytes_of(&a->y));

    if (known)
        strcat(o.shape, " of sums");
    return o;
}

static bench_operator of_layer_norm(const dr_layer_norm_args *a)
{
    return movement("layer norm", &a->y, bytes_of(&a->x) + bytes_of(&a->y));
}

static bench_operator of_geglu(const dr_geglu_args *a)
{
    return movement("geglu", &a->y, bytes_of(&a->x) + bytes_of(&a->y));
}

static bench_operator of_activate(const dr_activate_args *a)
{
    return movement("activation", &a->y, bytes_of(&a->x) + bytes_of(&a->y));
}

static bench_operator of_scale(const dr_scale_args *a)
{
    return movement("scale", &a->y, bytes_of(&a->x) + bytes_of(&a->y));
}

static bench_operator of_concat(const dr_concat_args *a)
{
    return movement("concat", &a->y, 2 * bytes_of(&a->y));
}

static bench_operator of_gather(const dr_gather_args *a)
{
    return movement("gather", &a->y, 2 * bytes_of(&a->y));
}

#define OPERATOR(name)                                                                  \
    static dr_status call_##name(const dr_backend *under, dr_pass *p, const void *args) \
    {                                                                                   \
        return under->name(p, args);                                                    \
    }                                                                                   \
    static dr_status time_##name(dr_pass *p, const dr_##name##_args *args)              \
    {                                                                                   \
        const bench_operator what = of_##name(args);                                    \
                                                                                        \
        return timed(p, &what, call_##name, args);                                      \
    }
OPERATOR(linear)
OPERATOR(conv2d)
OPERATOR(attention)
OPERATOR(layer_norm)
OPERATOR(geglu)
OPERATOR(activate)
OPERATOR(scale)
OPERATOR(concat)
OPERATOR(gather)

static dr_status call_group_norm(const dr_backend *under, dr_pass *p, const void *args)
{
    return under->group_norm(p, args);
}

/* A norm in place with given statistics, when repeated, drives its own results out of range.  So x is
 * restored. */
static dr_status time_group_norm(dr_pass *p, const dr_group_norm_args *args)
{
    const dr_backend *under = ((profiler *)p->device->backend)->under;
    const bench_operator what = of_group_norm(args, args->stats.data != NULL);
    dr_tensor kept = args->x;
    dr_error err;

    if (dr_device_alloc(&kept.data, p->device,
                        dr_tensor_pixels(&kept) * (size_t)kept.c * dr_dtype_bytes(kept.dtype), &err))
        bench_die("profile", &err);
    under->scale(p, &(dr_scale_args){ .x = args->x, .y = kept, .factor = 1.0f });
    measure(p, &what, call_group_norm, args);
    under->scale(p, &(dr_scale_args){ .x = kept, .y = args->x, .factor = 1.0f });
    dr_device_free(p->device, kept.data);
    return under->group_norm(p, args);
}

static dr_backend timing_backend(const dr_backend *under)
{
    dr_backend t = *under;

    t.linear = time_linear;
    t.conv2d = time_conv2d;
    t.attention = time_attention;
    t.group_norm = time_group_norm;
    t.layer_norm = time_layer_norm;
    t.geglu = time_geglu;
    t.activate = time_activate;
    t.scale = time_scale;
    t.concat = time_concat;
    t.gather = time_gather;
    return t;
}

/* --- a pass ---------------------------------------------------------------------------------- */

static int by_share(const void *a, const void *b)
{
    const bench_operator *x = a, *y = b;
    const double difference = y->count * y->seconds - x->count * x->seconds;

    return difference < 0 ? -1 : difference > 0;
}

static void sum_up(bench_profile *f)
{
    qsort(f->op, (size_t)f->operators, sizeof(f->op[0]), by_share);
    for (int i = 0; i < f->operators; i++) {
        f->seconds += f->op[i].count * f->op[i].seconds;
        f->gflop += f->op[i].count * f->op[i].gflop;
    }
}

/* The pass is planned by the device's own backend, and has memory of its own. */
void bench_profile_network(bench_profile *f, bench_network *n)
{
    dr_device *device = n->b->device;
    profiler ours = {
        .backend = timing_backend(device->backend), .under = device->backend, .profile = f, .network = n
    };
    const dr_pass_size size = { .rows = n->rows };
    dr_arena arena;
    dr_pass pass = { .device = device, .arena = &arena, .planning = true };
    void *memory;
    dr_error err;

    *f = (bench_profile){ .operators = 0 };
    dr_assert(dr_device_records(device));
    dr_arena_init(&arena, NULL, SIZE_MAX);
    n->body(&pass, n, size);
    if (pass.error.status || dr_device_alloc(&memory, device, arena.peak, &err))
        bench_die("profile", pass.error.status ? &pass.error : &err);
    pass.planning = false;
    dr_arena_init(&arena, memory, arena.peak);
    device->backend = &ours.backend;
    n->body(&pass, n, size);
    device->backend = ours.under;
    if (pass.error.status)
        bench_die("profile", &pass.error);
    dr_device_free(device, memory);
    sum_up(f);
}

/* --- saying it --------------------------------------------------------------------------------- */

static void print_operator(const bench_operator *o, double pass_s, double ceiling)
{
    printf("    %-18s %-40s %4d x %9.4f ms  %5.1f %%", o->kind, o->shape, o->count, 1e3 * o->seconds,
           100 * o->count * o->seconds / pass_s);
    if (o->gflop > 0)
        printf("  %6.1f TFLOP/s  %4.2f of the product\n", 1e-3 * o->gflop / o->seconds,
               ceiling > 0 ? o->gflop / o->seconds / ceiling : 0);
    else
        printf("  %6.0f GB/s\n", o->gbyte / o->seconds);
}

/* Adds the operator to the first one of its kind, which holds the mean of all of them. */
static void add_to_kind(bench_operator *kind, const bench_operator *o)
{
    const double before = kind->count, count = before + o->count;

    kind->seconds = (before * kind->seconds + o->count * o->seconds) / count;
    kind->gflop = (before * kind->gflop + o->count * o->gflop) / count;
    kind->gbyte = (before * kind->gbyte + o->count * o->gbyte) / count;
    kind->count += o->count;
}

static int sum_kinds(const bench_profile *f, bench_operator *kind)
{
    int kinds = 0;

    for (int i = 0; i < f->operators; i++) {
        int k = 0;

        while (k < kinds && strcmp(kind[k].kind, f->op[i].kind))
            k++;
        if (k < kinds)
            add_to_kind(&kind[k], &f->op[i]);
        else
            kind[kinds++] = f->op[i];
    }
    qsort(kind, (size_t)kinds, sizeof(kind[0]), by_share);
    return kinds;
}

void bench_print_profile(const bench_profile *f, double ceiling)
{
    static const double SHARE_MIN = 0.01;
    bench_operator kind[BENCH_OPERATORS_MAX];
    const int kinds = sum_kinds(f, kind);

    for (int i = 0; i < kinds; i++) {
        kind[i].shape[0] = '\0';
        print_operator(&kind[i], f->seconds, ceiling);
    }
    for (int i = 0; i < f->operators; i++)
        if (f->op[i].count * f->op[i].seconds >= SHARE_MIN * f->seconds)
            print_operator(&f->op[i], f->seconds, ceiling);
    fflush(stdout);
}

json_t *bench_profile_json(const bench_profile *f)
{
    json_t *all = json_array();

    for (int i = 0; i < f->operators; i++) {
        const bench_operator *o = &f->op[i];

        json_array_append_new(all, json_pack("{s:s, s:s, s:i, s:f, s:f, s:f}", "kind", o->kind, "shape",
                                             o->shape, "count", o->count, "seconds", o->seconds, "gflop",
                                             o->gflop, "gbyte", o->gbyte));
    }
    return all;
}
