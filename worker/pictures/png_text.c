#include "worker/pictures/png_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    HEAD_BYTES = 8 + 8 + 13 + 4, /* the signature, and IHDR, which is always the first chunk */
    CHUNK_BYTES = 12,            /* length, type and CRC of a chunk */
    KEY_BYTES_MAX = 64,          /* for a key, and what iTXt has around it */
    TEXTS = 2,                   /* that dr_png_with_texts() puts in */
};

static void put_be32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

/* Returns the bytes that were written. */
static size_t put_chunk(uint8_t *at, const char *key, const char *text)
{
    /* After the key and its NUL iTXt has: not compressed (2 bytes), an empty language, an empty
     * translated key. */
    static const uint8_t itxt_rest[] = { 0, 0, 0, 0 };
    const bool ascii = is_ascii(text);
    const size_t key_bytes = strlen(key) + 1, text_bytes = strlen(text);
    uint8_t *data = at + 8;
    size_t n = 0;

    memcpy(at + 4, ascii ? "tEXt" : "iTXt", 4);
    memcpy(data, key, key_bytes);
    n = key_bytes;
    if (!ascii) {
        memcpy(data + n, itxt_rest, sizeof(itxt_rest));
        n += sizeof(itxt_rest);
    }
    memcpy(data + n, text, text_bytes);
    n += text_bytes;
    put_be32(at, (uint32_t)n);
    put_be32(data + n, (uint32_t)crc32(0, at + 4, (uInt)(n + 4)));
    return n + CHUNK_BYTES;
}

dr_status dr_png_with_texts(void **out, size_t *out_size, const void *png, size_t size,
                            const dr_picture_texts *texts, dr_error *err)
{
    const size_t text_bytes = strlen(texts->parameters) + strlen(texts->json);
    const size_t most = size + text_bytes + TEXTS * (CHUNK_BYTES + KEY_BYTES_MAX);
    uint8_t *bytes = malloc(most);
    size_t used = HEAD_BYTES;

    dr_assert(size > HEAD_BYTES && memcmp((const char *)png + 12, "IHDR", 4) == 0);
    if (!bytes)
        return dr_fail(err, DR_ENOMEM, "no memory for a picture of %zu bytes", most);
    memcpy(bytes, png, HEAD_BYTES);
    used += put_chunk(bytes + used, "parameters", texts->parameters);
    used += put_chunk(bytes + used, "darkroom", texts->json);
    dr_assert(used + size - HEAD_BYTES <= most);
    memcpy(bytes + used, (const uint8_t *)png + HEAD_BYTES, size - HEAD_BYTES);
    *out = bytes;
    *out_size = used + size - HEAD_BYTES;
    return DR_OK;
}
