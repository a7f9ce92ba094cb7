#include "worker/jobs/picture_format.h"

const char *dr_picture_format_name(dr_picture_format format)
{
    static const char *const names[] = { [DR_PNG] = "png", [DR_JPEG] = "jpeg", [DR_WEBP] = "webp" };
    return names[format];
}

const char *dr_picture_media_type(dr_picture_format format)
{
    static const char *const types[] = {
        [DR_PNG] = "image/png", [DR_JPEG] = "image/jpeg", [DR_WEBP] = "image/webp"
    };
    return types[format];
}
