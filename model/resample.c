#include "model/resample.h"

dr_resample dr_downsampler_load(const dr_loader *l, int channels, dr_padding padding, int map_pixels,
                                int norm_groups)
{
    const dr_conv_shape shape = {
        .in = channels,
        .out = channels,
        .kernel = 3,
        .stride = 2,
        .padding = padding,
        .map_pixels = map_pixels,
        .bias = true,
    };

    return (dr_resample){ .conv = dr_load_conv(l, "downsamplers.0.conv", &shape),
                          .padding = padding,
                          .norm_groups = norm_groups };
}

dr_resample dr_upsampler_load(const dr_loader *l, int channels, int map_pixels, int norm_groups)
{
    const dr_conv_shape shape = {
        .in = channels,
        .out = channels,
        .kernel = 3,
        .stride = 1,
        .padding = DR_PAD_AROUND,
        .upsample = true,
        .map_pixels = map_pixels,
        .bias = true,
    };

    return (dr_resample){ .conv = dr_load_conv(l, "upsamplers.0.conv", &shape),
                          .padding = DR_PAD_AROUND,
                          .norm_groups = norm_groups };
}

void dr_resample_free(dr_resample *r)
{
    dr_conv_free(r->conv);
}

dr_tensor dr_downsample_forward(dr_pass *p, const dr_resample *r, dr_tensor x)
{
    const int odd = r->padding == DR_PAD_AROUND; /* the last pixel of an odd side has an output of its own */
    dr_tensor y = dr_take(p, x.n, (x.h + odd) / 2, (x.w + odd) / 2, x.c);

    return dr_conv2d(p, &(dr_conv2d_args){ .conv = r->conv, .x = x, .y = y, .norm_groups = r->norm_groups });
}

dr_tensor dr_upsample_forward(dr_pass *p, const dr_resample *r, dr_tensor x, int h, int w)
{
    dr_tensor y = dr_take(p, x.n, h, w, x.c);

    y = dr_conv2d(p, &(dr_conv2d_args){ .conv = r->conv, .x = x, .y = y, .norm_groups = r->norm_groups });
    dr_release(p, &x);
    return y;
}
