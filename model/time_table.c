#include "model/time_table.h"

#include <string.h>

static size_t block_floats(const dr_model *model)
{
    return (size_t)DR_CALLS_MAX * (size_t)dr_unet_time_channels(model->unet);
}

size_t dr_time_table_bytes(const dr_model *model, int blocks)
{
    const size_t classes = model->config.unet.class_embeddings > 0 ? DR_CALLS_MAX * sizeof(int32_t) : 0;

    return (size_t)blocks * block_floats(model) * sizeof(float) + DR_CALLS_MAX * sizeof(float) + classes;
}

dr_status dr_time_table_init(dr_time_table *s, const dr_model *model, int blocks, dr_error *err)
{
    void *table, *timesteps = NULL, *classes = NULL;
    dr_device *device = model->device;
    dr_status rc;

    dr_assert(blocks >= 1 && blocks <= DR_SAMPLES_MAX);
    memset(s, 0, sizeof(*s));
    s->model = model;
    s->blocks = blocks;
    rc = dr_device_alloc(&table, device, (size_t)blocks * block_floats(model) * sizeof(float), err);
    if (!rc)
        rc = dr_device_alloc(&timesteps, device, DR_CALLS_MAX * sizeof(float), err);
    if (!rc && model->config.unet.class_embeddings > 0)
        rc = dr_device_alloc(&classes, device, DR_CALLS_MAX * sizeof(int32_t), err);
    s->table = table;
    s->device_timesteps = timesteps;
    s->device_classes = classes;
    return rc;
}

void dr_time_table_free(dr_time_table *s)
{
    if (!s->model)
        return;
    dr_device_free(s->model->device, s->device_classes);
    dr_device_free(s->model->device, s->device_timesteps);
    dr_device_free(s->model->device, s->table);
}

static bool same_timesteps(const dr_time_table *s, int block, const dr_step_table *step_table,
                           int class_label)
{
    if (s->block[block].calls != step_table->calls || s->block[block].class_label != class_label)
        return false;
    for (int i = 0; i < step_table->calls; i++)
        if (s->block[block].timestep[i] != step_table->step[i].timestep)
            return false;
    return true;
}

/* Which of two free blocks is to be overwritten: one that is not computed, or the one that was read
 * longest ago. */
static bool is_better(const dr_time_table *s, int block, int than)
{
    if (s->block[block].computed != s->block[than].computed)
        return s->block[than].computed;
    return s->block[block].read < s->block[than].read;
}

/* The block with these timesteps, in use or not.  If there is none, the free block that is to be
 * overwritten. */
static int find_block(const dr_time_table *s, const dr_step_table *step_table, int class_label)
{
    int best = -1;

    for (int i = 0; i < s->blocks; i++) {
        if (same_timesteps(s, i, step_table, class_label))
            return i;
        if (s->block[i].users == 0 && (best < 0 || is_better(s, i, best)))
            best = i;
    }
    return best;
}

int dr_time_table_users(const dr_time_table *s)
{
    int users = 0;

    for (int i = 0; i < s->blocks; i++)
        users += s->block[i].users;
    return users;
}

/* Assert what holds between any two calls of this file. */
static void check(const dr_time_table *s)
{
    for (int i = 0; i < s->blocks; i++) {
        dr_assert(s->block[i].users >= 0);
        dr_assert(s->block[i].calls > 0 || (s->block[i].users == 0 && !s->block[i].computed));
    }
}

int dr_time_table_acquire(dr_time_table *s, const dr_step_table *step_table, int class_label)
{
    const int i = find_block(s, step_table, class_label);

    dr_assert(i >= 0 && step_table->calls >= 1 && step_table->calls <= DR_CALLS_MAX);
    if (!same_timesteps(s, i, step_table, class_label)) {
        s->block[i].computed = false;
        s->block[i].calls = step_table->calls;
        s->block[i].class_label = class_label;
        for (int call = 0; call < step_table->calls; call++)
            s->block[i].timestep[call] = step_table->step[call].timestep;
    }
    s->block[i].users++;
    check(s);
    return i;
}

void dr_time_table_release(dr_time_table *s, int block)
{
    dr_assert(block >= 0 && block < s->blocks && s->block[block].users > 0);
    s->block[block].users--;
    check(s);
}

/* --- the pass ------------------------------------------------------------------------ */

typedef struct time_args {
    const dr_time_table *time_table;
    int block;
} time_args;

static void time_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const time_args *a = arg;
    const dr_time_table *s = a->time_table;

    dr_unet_time_forward(p, s->model->unet,
                         &(dr_unet_time_args){ .timesteps = s->device_timesteps,
                                               .classes = s->device_classes,
                                               .n = size.rows,
                                               .table =
                                                   s->table + (size_t)a->block * block_floats(s->model) });
}

dr_status dr_time_table_plan(dr_time_table *s, dr_passes *passes, dr_error *err)
{
    time_args a = { .time_table = s };

    return dr_passes_plan(passes, DR_PASS_TIME, (dr_pass_size){ .rows = DR_CALLS_MAX }, time_body, &a, err);
}

static dr_status compute_block(dr_time_table *s, int block, dr_passes *passes, uint64_t calls_done,
                               dr_error *err)
{
    const dr_lane lane = dr_passes_lane(passes, DR_PASS_TIME);
    const int calls = s->block[block].calls;
    dr_device *device = s->model->device;
    int32_t classes[DR_CALLS_MAX];
    time_args a = { .time_table = s, .block = block };
    dr_status rc = DR_OK;

    if (s->block[block].read > calls_done)
        rc = dr_lane_wait(device, lane, dr_passes_lane(passes, DR_PASS_UNET), err);
    if (!rc)
        rc = dr_lane_upload(device, lane, s->device_timesteps, s->block[block].timestep,
                            (size_t)calls * sizeof(float), err);
    if (rc)
        return rc;
    for (int i = 0; i < calls; i++)
        classes[i] = s->block[block].class_label;
    if (s->device_classes)
        rc = dr_lane_upload(device, lane, s->device_classes, classes, (size_t)calls * sizeof(int32_t), err);
    if (rc)
        return rc;
    rc = dr_passes_play(passes, DR_PASS_TIME, (dr_pass_size){ .rows = calls }, time_body, &a, err);
    if (rc)
        return rc;
    s->block[block].computed = true;
    check(s);
    return DR_OK;
}

static bool is_pending(const dr_time_table *s, int block)
{
    return s->block[block].users > 0 && !s->block[block].computed;
}

bool dr_time_table_pending(const dr_time_table *s)
{
    bool any = false;

    for (int i = 0; i < s->blocks; i++)
        any |= is_pending(s, i);
    return any;
}

dr_status dr_time_table_compute(dr_time_table *s, dr_passes *passes, uint64_t calls_done, dr_error *err)
{
    dr_status rc = DR_OK;

    for (int i = 0; !rc && i < s->blocks; i++)
        if (is_pending(s, i))
            rc = compute_block(s, i, passes, calls_done, err);
    return rc;
}
