#include "worker/pictures/picture_text.h"

#include "model/json.h"
#include "worker/jobs/job_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The samplers' names in AUTOMATIC1111's web UI, and in programs that read its texts.  A schedule has a
 * name of its own there, unless it is the usual one. */
static const struct {
    const char *name, *schedule;
} samplers[] = {
    [DR_SAMPLER_DDPM] = { "DDPM", "" },
    [DR_SAMPLER_DDIM] = { "DDIM", "" },
    [DR_SAMPLER_PNDM] = { "PLMS", "" },
    [DR_SAMPLER_EULER] = { "Euler", "" },
    [DR_SAMPLER_EULER_A] = { "Euler a", "" },
    [DR_SAMPLER_HEUN] = { "Heun", "" },
    [DR_SAMPLER_DPMPP_2M] = { "DPM++ 2M", "" },
    [DR_SAMPLER_DPMPP_2M_KARRAS] = { "DPM++ 2M", ", Schedule type: Karras" },
    [DR_SAMPLER_DPMPP_SDE] = { "DPM++ 2M SDE", "" },
    [DR_SAMPLER_UNIPC] = { "UniPC", "" },
    [DR_SAMPLER_LMS] = { "LMS", "" },
    [DR_SAMPLER_LCM] = { "LCM", "" },
};
_Static_assert(sizeof(samplers) / sizeof(samplers[0]) == DR_SAMPLERS, "a name for each sampler");

/* NULL without memory. */
static char *make_parameters(const dr_job *job, int image, const char *model_fingerprint)
{
    const bool negative = job->negative_prompt_bytes > 0;
    char *text;

    dr_assert(job->sampler > DR_SAMPLER_DEFAULT && job->sampler < DR_SAMPLERS);
    if (asprintf(&text,
                 "%s\n%s%s%sSteps: %d, Sampler: %s%s, CFG scale: %g, Seed: %" PRIu64
                 ", Size: %dx%d, Model: %s, Model hash: %.10s",
                 job->prompt, negative ? "Negative prompt: " : "", job->negative_prompt, negative ? "\n" : "",
                 job->steps, samplers[job->sampler].name, samplers[job->sampler].schedule,
                 (double)job->guidance_scale, dr_job_image_seed(job, image), job->width, job->height,
                 job->model, model_fingerprint) < 0)
        return NULL;
    return text;
}

/* NULL without memory. */
static char *make_json(const dr_job *job, int image, const char *model_fingerprint)
{
    json_t *object = json_object();
    bool whole = object != NULL;
    char *text;

    for (int i = 0; i < dr_job_field_count && whole; i++) {
        const dr_job_field *field = &dr_job_fields[i];
        if (field->draws != DR_FIELD_YES)
            continue;
        whole = field->type == DR_FIELD_SEED
                    ? dr_json_put(object, field->name, dr_seed_json(dr_job_image_seed(job, image)))
                    : dr_job_put_field(object, job, field);
    }
    whole = whole && dr_json_put(object, "model_fingerprint", json_string(model_fingerprint));
    text = whole ? dr_json_text(object) : NULL;
    json_decref(object);
    return text;
}

/* Returns the bytes written, at most 6 for each of the text.  JSON text has no control characters, so
 * these five characters are all that XML needs escaped. */
static size_t escape_xml(char *to, const char *text)
{
    size_t used = 0;

    for (; *text; text++) {
        const char *as = *text == '&'    ? "&amp;"
                         : *text == '<'  ? "&lt;"
                         : *text == '>'  ? "&gt;"
                         : *text == '"'  ? "&quot;"
                         : *text == '\'' ? "&apos;"
                                         : NULL;
        const size_t n = as ? strlen(as) : 1;
        memcpy(to + used, as ? as : text, n);
        used += n;
    }
    to[used] = 0;
    return used;
}

/* NULL without memory. */
static char *make_xmp(const char *json)
{
    char *escaped = malloc(6 * strlen(json) + 1), *xmp = NULL;

    if (!escaped)
        return NULL;
    escape_xml(escaped, json);
    if (asprintf(&xmp,
                 "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>"
                 "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">"
                 "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">"
                 "<rdf:Description rdf:about=\"\" xmlns:darkroom=\"urn:darkroom:v1:\">"
                 "<darkroom:job>%s</darkroom:job>"
                 "</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end=\"r\"?>",
                 escaped) < 0)
        xmp = NULL;
    free(escaped);
    return xmp;
}

dr_status dr_picture_texts_make(dr_picture_texts *texts, const dr_job *job, int image,
                                const char *model_fingerprint, dr_error *err)
{
    texts->parameters = make_parameters(job, image, model_fingerprint);
    texts->json = make_json(job, image, model_fingerprint);
    texts->xmp = texts->json ? make_xmp(texts->json) : NULL;
    if (!texts->parameters || !texts->json || !texts->xmp)
        return dr_fail(err, DR_ENOMEM, "no memory for the texts in a picture's file");
    return DR_OK;
}

void dr_picture_texts_free(dr_picture_texts *texts)
{
    free(texts->parameters);
    free(texts->json);
    free(texts->xmp);
}
