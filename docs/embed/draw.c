/* draw.c - draw one picture with libdarkroom, and write it as a PPM file.
 *
 *     draw MODEL PROMPT OUT.ppm
 *
 * Build: cc draw.c -o draw $(pkg-config --cflags --libs darkroom) */
#include <darkroom/darkroom.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_ppm(const char *path, const uint8_t *rgb, int width, int height)
{
    const size_t bytes = (size_t)width * (size_t)height * 3;
    FILE *file = fopen(path, "wb");
    int written;

    if (!file) {
        perror(path);
        return 1;
    }
    written = fprintf(file, "P6\n%d %d\n255\n", width, height) > 0 && fwrite(rgb, 1, bytes, file) == bytes;
    if (fclose(file) || !written) {
        perror(path);
        return 1;
    }
    return 0;
}

/* Step until the sample is done, and get its picture. */
static dr_status develop(dr_run *run, int sample, uint8_t *rgb, dr_error *err)
{
    for (;;) {
        const dr_progress at = dr_run_progress(run, sample);

        fprintf(stderr, "\rstep %d of %d", at.step, at.steps);
        if (at.calls_done == at.calls)
            break;
        if (dr_run_step(run, err))
            return err->status;
    }
    fputc('\n', stderr);
    return dr_run_picture_and_drop(run, sample, rgb, err);
}

int main(int argc, char **argv)
{
    const dr_device_options where = { .name = "auto" };
    dr_text_to_image request = { .steps = 20, .guidance_scale = 5.0f, .seed = 42 };
    dr_run_options options = { .samples_max = 1 };
    dr_device *device = NULL;
    dr_model *model = NULL;
    dr_run *run = NULL;
    uint8_t *rgb = NULL;
    dr_error err;
    int sample, rc = 1;

    if (argc != 4) {
        fprintf(stderr, "usage: draw MODEL PROMPT OUT.ppm\n");
        return 2;
    }
    request.prompt = argv[2];
    request.prompt_bytes = strlen(argv[2]);

    if (dr_device_open(&device, &where, &err) || dr_model_open(&model, device, argv[1], &err))
        goto failed;
    options.width = dr_model_info_of(model)->default_width;
    options.height = dr_model_info_of(model)->default_height;
    rgb = malloc((size_t)options.width * (size_t)options.height * 3);
    if (!rgb) {
        perror("draw");
        goto out;
    }
    if (dr_run_open(&run, model, &options, &err) || dr_run_add(run, &request, &sample, &err) ||
        develop(run, sample, rgb, &err))
        goto failed;
    rc = write_ppm(argv[3], rgb, options.width, options.height);
    goto out;

failed:
    fprintf(stderr, "draw: %s: %s\n", dr_status_name(err.status), err.text);
out:
    free(rgb);
    dr_run_close(run);
    dr_model_close(model);
    dr_device_close(device);
    return rc;
}
