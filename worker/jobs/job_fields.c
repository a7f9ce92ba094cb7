#include "worker/jobs/job_fields.h"

#include "worker/support/text.h"

#include <inttypes.h>
#include <string.h>

/* A choice is read and written through an int *. */
_Static_assert(sizeof(dr_task) == sizeof(int) && sizeof(dr_sampler) == sizeof(int) &&
                   sizeof(dr_picture_format) == sizeof(int),
               "enums are ints here");

static const char *task_name(int task)
{
    static const char *const names[] = {
        [DR_TASK_TEXT_TO_IMAGE] = "text_to_image",
        [DR_TASK_IMAGE_TO_IMAGE] = "image_to_image",
        [DR_TASK_INPAINT] = "inpaint",
        [DR_TASK_UPSCALE] = "upscale",
    };
    return names[task];
}

static const char *sampler_name(int sampler)
{
    return dr_sampler_name((dr_sampler)sampler);
}

static const char *format_name(int format)
{
    return dr_picture_format_name((dr_picture_format)format);
}

#define AT(member) .offset = offsetof(dr_job, member)
#define YES DR_FIELD_YES
#define NO DR_FIELD_NO
#define TIME_MAX 253402300799999.0 /* the last millisecond of the year 9999 */

const dr_job_field dr_job_fields[] = {
    { "id", DR_FIELD_NAME, AT(id), .draws = NO, .batches = NO, .required = true, .max = DR_NAME_BYTES_MAX,
      .placeholder = "ID", .help = "Name of the job, its result and its pictures" },
    { "model", DR_FIELD_FOLDER, AT(model), .draws = YES, .batches = YES, .required = true,
      .max = DR_FOLDER_NAME_BYTES_MAX, .placeholder = "NAME",
      .help = "Model that draws: the name of its folder in the folder of models" },
    { "task", DR_FIELD_CHOICE, AT(task), .draws = YES, .batches = YES, .choice = task_name,
      .choices_to = DR_TASK_UPSCALE + 1, .placeholder = "TASK",
      .help = "Kind of drawing. This version does text_to_image and refuses the others" },
    { "prompt", DR_FIELD_TEXT, AT(prompt), .draws = YES, .batches = NO, .max = DR_PROMPT_BYTES_MAX,
      .absent = "empty", .placeholder = "TEXT", .help = "What the picture should show" },
    { "negative_prompt", DR_FIELD_TEXT, AT(negative_prompt), .draws = YES, .batches = NO,
      .max = DR_PROMPT_BYTES_MAX, .absent = "empty", .placeholder = "TEXT",
      .help = "What the picture should not show" },
    { "width", DR_FIELD_INT, AT(width), .draws = YES, .batches = YES, .min = 64, .max = DR_SIDE_MAX,
      .multiple_of = 8, .absent = "the model's own", .placeholder = "PIXELS",
      .help = "Width of the picture, in pixels" },
    { "height", DR_FIELD_INT, AT(height), .draws = YES, .batches = YES, .min = 64, .max = DR_SIDE_MAX,
      .multiple_of = 8, .absent = "the model's own", .placeholder = "PIXELS",
      .help = "Height of the picture, in pixels" },
    { "steps", DR_FIELD_INT, AT(steps), .draws = YES, .batches = YES, .min = 1, .max = DR_STEPS_MAX,
      .preset = 50, .placeholder = "COUNT", .help = "Denoising steps" },
    { "guidance_scale", DR_FIELD_REAL, AT(guidance_scale), .draws = YES, .alike_to = 1, .batches = NO,
      .min = 0, .max = (double)DR_GUIDANCE_MAX, .preset = 7.5, .placeholder = "NUMBER",
      .help = "How closely to follow the prompt; 1 or less means no guidance, which is half the work" },
    { "sampler", DR_FIELD_CHOICE, AT(sampler), .draws = YES, .batches = NO, .choice = sampler_name,
      .choices_from = DR_SAMPLER_DEFAULT + 1, .choices_to = DR_SAMPLERS, .absent = "the model's own",
      .placeholder = "NAME", .help = "Sampler, which diffusers calls a scheduler" },
    { "seed", DR_FIELD_SEED, AT(seed), .draws = YES, .batches = NO, .max = 18446744073709551615.0,
      .absent = "drawn from the id", .placeholder = "NUMBER",
      .help = "Seed of the first picture; picture i has seed + i" },
    { "images", DR_FIELD_INT, AT(images), .draws = NO, .batches = NO, .min = 1, .max = DR_IMAGES_MAX,
      .preset = 1, .placeholder = "COUNT", .help = "Pictures to draw" },
    { "format", DR_FIELD_CHOICE, AT(format), .draws = NO, .batches = NO, .choice = format_name,
      .choices_to = DR_PICTURE_FORMATS, .preset = DR_PNG, .placeholder = "FORMAT",
      .help = "File format of the pictures" },
    { "quality", DR_FIELD_INT, AT(quality), .draws = NO, .batches = NO, .min = 1, .max = 100, .preset = 90,
      .placeholder = "PERCENT", .help = "Quality of JPEG and WebP" },
    { "priority", DR_FIELD_INT, AT(priority), .draws = NO, .batches = NO, .min = -10, .max = 10, .preset = 0,
      .placeholder = "PRIORITY", .help = "Priority of the job; a higher one goes first" },
    { "deadline_ms", DR_FIELD_TIME, AT(deadline_ms), .draws = NO, .batches = NO, .min = 0, .max = TIME_MAX,
      .absent = "none", .placeholder = "TIME",
      .help = "Unix time in milliseconds; after it the job fails as expired" },
    { "report_events", DR_FIELD_BOOL, AT(report_events), .draws = NO, .batches = NO, .preset = 0,
      .help = "Send events while the job waits and runs" },
    { "correlation_id", DR_FIELD_TEXT, AT(correlation_id), .draws = NO, .batches = NO, .max = 256,
      .absent = "none", .placeholder = "TEXT", .help = "Text to copy into the result" },
    { "reply_topic", DR_FIELD_NAME, AT(reply_topic), .draws = NO, .batches = NO, .max = DR_NAME_BYTES_MAX,
      .absent = "the worker's results topic", .placeholder = "TOPIC",
      .help = "Topic of the result, if the worker allows it" },
};
const int dr_job_field_count = sizeof(dr_job_fields) / sizeof(dr_job_fields[0]);
_Static_assert(sizeof(dr_job_fields) / sizeof(dr_job_fields[0]) <= DR_JOB_FIELDS_MAX,
               "dr_job.given has a bit for each field");

uint64_t dr_job_image_seed(const dr_job *job, int image)
{
    return job->seed + (uint64_t)image;
}

void dr_job_request(dr_text_to_image *request, const dr_job *job, int image)
{
    memset(request, 0, sizeof(*request));
    request->prompt = job->prompt;
    request->prompt_bytes = job->prompt_bytes;
    request->negative_prompt = job->negative_prompt;
    request->negative_prompt_bytes = job->negative_prompt_bytes;
    request->steps = job->steps;
    request->guidance_scale = job->guidance_scale;
    request->sampler = job->sampler;
    request->seed = dr_job_image_seed(job, image);
}

const dr_job_field *dr_job_field_find(const char *name)
{
    for (int i = 0; i < dr_job_field_count; i++)
        if (strcmp(dr_job_fields[i].name, name) == 0)
            return &dr_job_fields[i];
    return NULL;
}

bool dr_job_field_is_string(const dr_job_field *field)
{
    return field->type == DR_FIELD_NAME || field->type == DR_FIELD_FOLDER || field->type == DR_FIELD_TEXT;
}

/* --- a row in words ------------------------------------------------------------------------- */

static void list_choices(const dr_job_field *field, char *text, size_t size)
{
    size_t used = 0;

    text[0] = 0;
    for (int i = field->choices_from; i < field->choices_to && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", field->choice(i));
}

void dr_job_field_allowed(const dr_job_field *field, char *text, size_t size)
{
    switch (field->type) {
    case DR_FIELD_NAME:
        snprintf(text, size, "%s", dr_name_rule);
        break;
    case DR_FIELD_FOLDER:
        snprintf(text, size, "%s", dr_folder_name_rule);
        break;
    case DR_FIELD_TEXT:
        snprintf(text, size, "at most %.0f bytes of UTF-8 without NUL", field->max);
        break;
    case DR_FIELD_INT:
        if (field->multiple_of)
            snprintf(text, size, "a multiple of %d from %.0f to %.0f", field->multiple_of, field->min,
                     field->max);
        else
            snprintf(text, size, "%.0f..%.0f", field->min, field->max);
        break;
    case DR_FIELD_SEED:
        snprintf(text, size, "0..%" PRIu64, UINT64_MAX);
        break;
    case DR_FIELD_TIME:
    case DR_FIELD_REAL:
        snprintf(text, size, "%.0f..%.0f", field->min, field->max);
        break;
    case DR_FIELD_BOOL:
        snprintf(text, size, "true or false");
        break;
    case DR_FIELD_CHOICE:
        list_choices(field, text, size);
        break;
    }
}

void dr_job_field_preset(const dr_job_field *field, char *text, size_t size)
{
    if (field->required)
        snprintf(text, size, "%s", "");
    else if (field->absent)
        snprintf(text, size, "%s", field->absent);
    else if (field->type == DR_FIELD_CHOICE)
        snprintf(text, size, "%s", field->choice((int)field->preset));
    else if (field->type == DR_FIELD_BOOL)
        snprintf(text, size, "%s", field->preset != 0 ? "true" : "false");
    else
        snprintf(text, size, "%g", field->preset);
}
