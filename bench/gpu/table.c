#include "bench/gpu/table.h"

#include <stdio.h>
#include <string.h>

/* For one H200.  A limit is the FLOPs of the work at the device's best rate for a matrix product of that
 * size.  The first row's limit is 10.35 pictures/s if everything that the two rows of a guided pair have in
 * common is computed once.
 *
 * The host must start a pass of the small model in less time than the device needs to run it.  Otherwise the
 * device waits for the host. */
static const bench_row rows[] = {
    { "sd15_512_pictures_8", "SD 1.5, 512x512, 50 steps, guidance, 8 pictures", "pictures/s", false, 5.2, 6.5,
      9.5, 1.5, 2.5 },
    { "sd21_768_pictures_4", "SD 2.1, 768x768, 50 steps, guidance, 4 pictures", "pictures/s", false, 2.0, 2.6,
      3.58, 1.5, 2.5 },
    { "sd15_512_picture_1", "SD 1.5, 512x512, 50 steps, guidance, 1 picture", "s", true, 0.30, 0.24, 0.105,
      1.5, 2.5 },
    { "sd15_512_vae_decode", "SD 1.5, VAE decode, 512x512", "ms", true, 8, 5, 3.2, 0, 0 },
    { "sd15_512_memory_8", "memory, SD 1.5, 512x512, 8 pictures", "GiB", true, 6, 4, 0, 0, 0 },
    { "sd15_512_idle_8", "device idle between passes under load, SD 1.5, 512x512, batches of 8", "%", true, 2,
      0.5, 0, 0, 0 },
    { "small_128_pictures_64", "small model, 128x128, 20 steps, guidance, 64 pictures", "pictures/s", false,
      0, 0, 0, 0, 0 },
    { "small_128_host_share", "small model, UNet, 128 rows: host to start it / device to do it", "", true, 1,
      0, 0, 0, 0 },
    { "sd15_512_unet_2", "SD 1.5, 512x512, UNet, 2 rows", "ms", true, 0, 0, 0, 0, 0 },
    { "sd15_512_unet_16", "SD 1.5, 512x512, UNet, 16 rows", "ms", true, 0, 0, 0, 0, 0 },
    { "sd21_768_unet_8", "SD 2.1, 768x768, UNet, 8 rows", "ms", true, 0, 0, 0, 0, 0 },
    { "small_128_unet_128", "small model, 128x128, UNet, 128 rows", "ms", true, 0, 0, 0, 0, 0 },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

const bench_row *bench_row_of(const char *name)
{
    for (int i = 0; i < ROWS; i++)
        if (!strcmp(rows[i].name, name))
            return &rows[i];
    dr_assert(!"a row of the table");
    return NULL;
}

static const char *verdict(const bench_row *r, double value)
{
    const double sign = r->less ? -1 : 1;

    if (r->wanted == 0)
        return "";
    if (r->stretch != 0 && sign * value >= sign * r->stretch)
        return ", reaches the stretch";
    return sign * value >= sign * r->wanted ? ", reaches what is wanted" : ", short of what is wanted";
}

void bench_row_measured(json_t *measured, const char *name, double value)
{
    const bench_row *r = bench_row_of(name);

    printf("%-24s %.3f %s%s\n", name, value, r->unit, verdict(r, value));
    fflush(stdout);
    json_array_append_new(measured,
                          json_pack("{s:s, s:s, s:s, s:b, s:f, s:f, s:f, s:f, s:f, s:f}", "name", name,
                                    "work", r->work, "unit", r->unit, "less", r->less, "value", value,
                                    "wanted", r->wanted, "stretch", r->stretch, "limit", r->limit,
                                    "ratio_wanted", r->ratio_wanted, "ratio_stretch", r->ratio_stretch));
}

static const json_t *find(const json_t *column, const char *name)
{
    const json_t *all = json_object_get(column, "rows");

    for (size_t i = 0; i < json_array_size(all); i++)
        if (!strcmp(json_string_value(json_object_get(json_array_get(all, i), "name")), name))
            return json_array_get(all, i);
    return NULL;
}

static void print_cell(double value)
{
    if (value != 0)
        printf(" %.4g |", value);
    else
        printf(" |");
}

void bench_print_table(const json_t *columns)
{
    const size_t count = json_array_size(columns);

    printf("\n| work | unit |");
    for (size_t i = 0; i < count; i++)
        printf(" %s |", json_string_value(json_object_get(json_array_get(columns, i), "name")));
    printf(" wanted | stretch | limit |\n| --- | --- |");
    for (size_t i = 0; i < count + 3; i++)
        printf(" --- |");
    printf("\n");
    for (int r = 0; r < ROWS; r++) {
        if (!find(json_array_get(columns, 0), rows[r].name))
            continue;
        printf("| %s | %s |", rows[r].work, rows[r].unit);
        for (size_t i = 0; i < count; i++)
            print_cell(
                json_real_value(json_object_get(find(json_array_get(columns, i), rows[r].name), "value")));
        print_cell(rows[r].wanted);
        print_cell(rows[r].stretch);
        print_cell(rows[r].limit);
        printf("\n");
    }
}
