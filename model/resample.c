#include "model/resample.h"

static dr_resample load(const dr_loader *l, const char *name, int channels, int stride, dr_padding padding,
                        int map_pixels)
{
    const dr_conv_shape shape = {
        .in = channels,
        .out = channels,
        .kernel = 3,
        .stride = stride,
        .padding = padding,
        .map_pixels = map_pixels,
        .bias = true,
    };

    return (dr_resample){ .conv = dr_load_conv(l, name, &shape), .padding = padding };
}

dr_resample dr_downsampler_load(const dr_loader *l, int channels, dr_padding padding, int map_pixels)
{
    return load(l, "downsamplers.0.conv", channels, 2, padding, map_pixels);
}

dr_resample dr_upsampler_load(const dr_loader *l, int channels, int map_pixels)
{
    return load(l, "upsamplers.0.conv", channels, 1, DR_PAD_AROUND, map_pixels);
}

void dr_resample_free(dr_resample *r)
{
    dr_conv_free(r->conv);
}

dr_tensor dr_downsample_forward(dr_pass *p, const dr_resample *r, dr_tensor x)
{
    const int odd = r->padding == DR_PAD_AROUND; /* the last pixel of an odd side counts */
    dr_tensor y = dr_take(p, x.n, (x.h + odd) / 2, (x.w + odd) / 2, x.c);

    dr_conv2d(p, &(dr_conv2d_args){ .conv = r->conv, .x = x, .y = y });
    return y;
}

dr_tensor dr_upsample_forward(dr_pass *p, const dr_resample *r, dr_tensor x, int h, int w)
{
    dr_tensor wide = dr_take(p, x.n, h, w, x.c);
    dr_tensor y;

    dr_upsample(p, &(dr_upsample_args){ .x = x, .y = wide });
    dr_release(p, &x);
    y = dr_take_like(p, wide);
    dr_conv2d(p, &(dr_conv2d_args){ .conv = r->conv, .x = wide, .y = y });
    dr_release(p, &wide);
    return y;
}
