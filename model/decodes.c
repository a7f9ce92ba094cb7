#include "model/decodes.h"

#include <string.h>

static size_t tensor_bytes(const dr_tensor *t)
{
    return dr_tensor_pixels(t) * (size_t)t->c * dr_dtype_bytes(t->dtype);
}

/* The offset of dr_to_rgb8()'s `broken`, after the colours. */
static size_t broken_at(const dr_tensor *rgb)
{
    return (tensor_bytes(rgb) + sizeof(int32_t) - 1) / sizeof(int32_t) * sizeof(int32_t);
}

static size_t rgb_bytes(const dr_decodes *s)
{
    return broken_at(&s->rgb) + sizeof(int32_t);
}

dr_decodes dr_decodes_shape(const dr_model *model, dr_tensor latents)
{
    const int factor = dr_vae_factor(model->vae);
    dr_decodes s = { .model = model, .places = latents.n, .snapshot = latents };

    s.snapshot.data = NULL;
    s.rgb = (dr_tensor){
        .dtype = DR_U8, .n = 1, .h = factor * latents.h, .w = factor * latents.w, .c = 3, .ld = 3
    };
    return s;
}

size_t dr_decodes_bytes(const dr_decodes *s)
{
    return tensor_bytes(&s->snapshot) + rgb_bytes(s);
}

dr_status dr_decodes_init(dr_decodes *s, dr_error *err)
{
    dr_device *device = s->model->device;
    dr_status rc = dr_device_alloc(&s->snapshot.data, device, tensor_bytes(&s->snapshot), err);

    if (!rc)
        rc = dr_device_alloc(&s->rgb.data, device, rgb_bytes(s), err);
    for (int i = 0; i < s->places && !rc; i++)
        rc = dr_landing_create(&s->place[i].landing, device, rgb_bytes(s), err);
    return rc;
}

void dr_decodes_free(dr_decodes *s)
{
    if (!s->model)
        return;
    for (int i = 0; i < s->places; i++)
        dr_landing_free(s->place[i].landing);
    dr_device_free(s->model->device, s->rgb.data);
    dr_device_free(s->model->device, s->snapshot.data);
}

/* --- passes ---------------------------------------------------------------------------- */

typedef struct decode_args {
    const dr_decodes *decodes;
    dr_tensor latent, snapshot; /* one row each */
} decode_args;

static void snapshot_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const decode_args *a = arg;

    dr_assert(size.rows == 1);
    dr_scale(p, &(dr_scale_args){ .x = a->latent, .y = a->snapshot, .factor = 1.0f });
}

static void decode_body(dr_pass *p, void *arg, dr_pass_size size)
{
    const decode_args *a = arg;
    const dr_tensor *to = &a->decodes->rgb;
    dr_tensor rgb = dr_take(p, size.rows, to->h, to->w, to->c);

    dr_vae_decode(p, a->decodes->model->vae, a->snapshot, rgb);
    dr_to_rgb8(p, &(dr_to_rgb8_args){
                      .x = rgb, .y = *to, .broken = (int32_t *)((char *)to->data + broken_at(to)) });
    dr_release(p, &rgb);
}

static const dr_pass_size one = { .rows = 1 };

dr_status dr_decodes_plan(dr_decodes *s, dr_passes *passes, dr_error *err)
{
    const dr_tensor row = dr_tensor_rows(s->snapshot, 0, 1);
    decode_args a = { .decodes = s, .latent = row, .snapshot = row };
    dr_status rc = dr_passes_plan(passes, DR_PASS_SNAPSHOT, one, snapshot_body, &a, err);

    return rc ? rc : dr_passes_plan(passes, DR_PASS_DECODE, one, decode_body, &a, err);
}

/* Assert what holds between any two calls of this file. */
static void check(const dr_decodes *s)
{
    int used = 0;

    for (int i = 0; i < s->places; i++)
        used += s->place[i].used;
    dr_assert(s->in_use == used);
}

static int free_place(const dr_decodes *s)
{
    int i = 0;

    while (i < s->places && s->place[i].used)
        i++;
    dr_assert(i < s->places);
    return i;
}

dr_status dr_decodes_begin(dr_decodes *s, dr_passes *passes, dr_tensor latent, int *place, dr_error *err)
{
    const dr_lane lane = dr_passes_lane(passes, DR_PASS_DECODE);
    const int at = free_place(s);
    decode_args a = { .decodes = s, .latent = latent, .snapshot = dr_tensor_rows(s->snapshot, at, 1) };
    dr_status rc;

    dr_assert(latent.n == 1 && latent.h == s->snapshot.h && latent.w == s->snapshot.w &&
              latent.c == s->snapshot.c);
    rc = dr_passes_play(passes, DR_PASS_SNAPSHOT, one, snapshot_body, &a, err);
    if (!rc)
        rc = dr_lane_wait(s->model->device, lane, dr_passes_lane(passes, DR_PASS_SNAPSHOT), err);
    if (!rc)
        rc = dr_passes_play(passes, DR_PASS_DECODE, one, decode_body, &a, err);
    if (!rc)
        rc = dr_landing_begin(s->place[at].landing, lane, s->rgb.data, err);
    if (rc)
        return rc;
    s->place[at].used = true;
    s->in_use++;
    check(s);
    *place = at;
    return DR_OK;
}

/* --- on the host ----------------------------------------------------------------------- */

static dr_landing *landing_of(const dr_decodes *s, int place)
{
    dr_assert(place >= 0 && place < s->places && s->place[place].used);
    return s->place[place].landing;
}

bool dr_decodes_ready(const dr_decodes *s, int place)
{
    return dr_landing_ready(landing_of(s, place));
}

static dr_status check_values(const dr_decodes *s, const void *landed, dr_error *err)
{
    int32_t broken;

    memcpy(&broken, (const char *)landed + broken_at(&s->rgb), sizeof(broken));
    if (!broken)
        return DR_OK;
    return dr_fail(err, DR_EUNSUPPORTED, "the picture's values are infinite or not a number: %s",
                   dr_device_activation_dtype(s->model->device) == DR_F16
                       ? "they exceed 65504, the largest of f16; set storage to bf16, which has a wider range"
                       : "the model's weights or the guidance scale are too large");
}

dr_status dr_decodes_end(dr_decodes *s, int place, uint8_t *rgb, dr_error *err)
{
    const void *landed;
    dr_status rc = dr_landing_wait(landing_of(s, place), &landed, err);

    if (!rc)
        rc = check_values(s, landed, err);
    if (!rc && rgb)
        memcpy(rgb, landed, tensor_bytes(&s->rgb));
    s->place[place].used = false;
    s->in_use--;
    check(s);
    return rc;
}
