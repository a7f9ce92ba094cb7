#include "model/safetensors.h"

#include "base/file_kind.h"
#include "base/limits.h"
#include "model/json.h"
#include "model/json_text.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8 };

static const char METADATA[] = "__metadata__";

/* The dtypes of the format.  A tensor of a type that Darkroom lacks is checked like any other, and its
 * values are plain bytes. */
static const struct dtype {
    const char *name;
    unsigned bits;
    dr_dtype dtype;
} DTYPES[] = {
    { "F32", 32, DR_F32 },   { "F16", 16, DR_F16 },   { "BF16", 16, DR_BF16 }, { "I64", 64, DR_I64 },
    { "I32", 32, DR_I32 },   { "U8", 8, DR_U8 },      { "BOOL", 8, DR_U8 },    { "I8", 8, DR_U8 },
    { "I16", 16, DR_U8 },    { "U16", 16, DR_U8 },    { "U32", 32, DR_U8 },    { "U64", 64, DR_U8 },
    { "F64", 64, DR_U8 },    { "C64", 64, DR_U8 },    { "F8_E4M3", 8, DR_U8 }, { "F8_E5M2", 8, DR_U8 },
    { "F8_E8M0", 8, DR_U8 }, { "F6_E2M3", 6, DR_U8 }, { "F6_E3M2", 6, DR_U8 }, { "F4", 4, DR_U8 },
};

static uint64_t load_le64(const unsigned char *from)
{
    uint64_t value = 0;

    for (int i = 7; i >= 0; i--)
        value = value << 8 | from[i];
    return value;
}

static const struct dtype *dtype_named(const char *name)
{
    for (size_t i = 0; i < sizeof(DTYPES) / sizeof(DTYPES[0]); i++)
        if (!strcmp(DTYPES[i].name, name))
            return &DTYPES[i];
    return NULL;
}

/* --- one tensor -------------------------------------------------------------------------- */

static dr_status read_dtype(dr_safetensors_entry *e, const json_t *tensor, unsigned *bits, dr_error *err)
{
    const char *name = json_string_value(json_object_get(tensor, "dtype"));
    const struct dtype *dtype;

    if (!name)
        return dr_fail(err, DR_EFORMAT, "%s: tensor '%s': no dtype", e->file->path, e->name);
    dtype = dtype_named(name);
    if (!dtype)
        return dr_fail(err, DR_EFORMAT, "%s: tensor '%s': unknown dtype '%s'", e->file->path, e->name, name);
    e->info.dtype = dtype->dtype;
    e->info.dtype_name = dtype->name;
    *bits = dtype->bits;
    return DR_OK;
}

/* Read the shape, and multiply *bits by every dimension.  DR_EFORMAT: the product overflows. */
static dr_status read_shape(dr_safetensors_entry *e, const json_t *tensor, uint64_t *bits, dr_error *err)
{
    const json_t *shape = json_object_get(tensor, "shape"), *dim;
    size_t i;

    if (!json_is_array(shape))
        return dr_fail(err, DR_EFORMAT, "%s: tensor '%s': shape is not a list", e->file->path, e->name);
    if (json_array_size(shape) > DR_WEIGHT_DIMS_MAX)
        return dr_fail(err, DR_EUNSUPPORTED, "%s: tensor '%s': %zu dimensions; at most %d are supported",
                       e->file->path, e->name, json_array_size(shape), DR_WEIGHT_DIMS_MAX);
    e->info.dims = (int)json_array_size(shape);
    json_array_foreach(shape, i, dim)
    {
        const json_int_t size = json_integer_value(dim);
        if (!json_is_integer(dim) || size < 0)
            return dr_fail(err, DR_EFORMAT, "%s: tensor '%s': dimension %zu is not a whole number >= 0",
                           e->file->path, e->name, i);
        if (__builtin_mul_overflow(*bits, (uint64_t)size, bits))
            return dr_fail(err, DR_EFORMAT, "%s: tensor '%s': the shape's size overflows", e->file->path,
                           e->name);
        e->info.shape[i] = size;
    }
    return DR_OK;
}

static dr_status read_offsets(dr_safetensors_entry *e, const json_t *tensor, uint64_t bits, size_t data_begin,
                              dr_error *err)
{
    const json_t *offsets = json_object_get(tensor, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    const json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    const size_t data_bytes = e->file->bytes - data_begin;

    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return dr_fail(err, DR_EFORMAT, "%s: tensor '%s': data_offsets is not [begin, end]", e->file->path,
                       e->name);
    if (begin < 0 || begin > end || (uint64_t)end > data_bytes)
        return dr_fail(err, DR_EFORMAT,
                       "%s: tensor '%s': data_offsets [%lld, %lld] are not within the file's %zu data bytes",
                       e->file->path, e->name, (long long)begin, (long long)end, data_bytes);
    if (bits % 8 || bits / 8 != (uint64_t)(end - begin))
        return dr_fail(err, DR_EFORMAT,
                       "%s: tensor '%s': shape and dtype %s make %llu bits, but data_offsets span %lld bytes",
                       e->file->path, e->name, e->info.dtype_name, (unsigned long long)bits,
                       (long long)(end - begin));
    e->info.offset = data_begin + (size_t)begin;
    e->info.bytes = (size_t)(end - begin);
    return DR_OK;
}

static dr_status read_tensor(dr_safetensors_entry *e, const json_t *tensor, size_t data_begin, dr_error *err)
{
    unsigned dtype_bits = 0;
    uint64_t bits;
    dr_status rc;

    if (!json_is_object(tensor))
        return dr_fail(err, DR_EFORMAT, "%s: tensor '%s': its entry is not an object", e->file->path,
                       e->name);
    rc = read_dtype(e, tensor, &dtype_bits, err);
    bits = dtype_bits;
    if (!rc)
        rc = read_shape(e, tensor, &bits, err);
    if (!rc)
        rc = read_offsets(e, tensor, bits, data_begin, err);
    return rc;
}

/* --- the file ---------------------------------------------------------------------------- */

static dr_status check_metadata(const dr_safetensors *s, json_t *metadata, dr_error *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(metadata))
        return dr_fail(err, DR_EFORMAT, "%s: %s is not an object", s->file.path, METADATA);
    json_object_foreach(metadata, key,
                        value) if (!json_is_string(value)) return dr_fail(err, DR_EFORMAT,
                                                                          "%s: %s: '%s' is not a string",
                                                                          s->file.path, METADATA, key);
    return DR_OK;
}

/* Order by begin, then by end: an empty tensor comes before the tensor that begins at the same byte. */
static int by_bytes(const void *a, const void *b)
{
    const dr_weight_info *x = &((const dr_safetensors_entry *)a)->info;
    const dr_weight_info *y = &((const dr_safetensors_entry *)b)->info;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static dr_status check_coverage(dr_safetensors *s, size_t data_begin, dr_error *err)
{
    size_t expected = data_begin;

    qsort(s->entries, s->count, sizeof(s->entries[0]), by_bytes);
    for (size_t i = 0; i < s->count; i++) {
        const dr_safetensors_entry *e = &s->entries[i];
        const size_t begin = e->info.offset;
        if (begin != expected)
            return dr_fail(err, DR_EFORMAT, "%s: tensor '%s': begins at byte %zu of the data, %s byte %zu",
                           s->file.path, e->name, begin - data_begin,
                           begin < expected ? "inside a tensor that ends at" : "leaving a hole from",
                           expected - data_begin);
        expected = begin + e->info.bytes;
    }
    if (expected != s->file.bytes)
        return dr_fail(err, DR_EFORMAT, "%s: %zu bytes after the last tensor", s->file.path,
                       s->file.bytes - expected);
    return DR_OK;
}

static dr_status index_tensors(dr_safetensors *s, size_t data_begin, dr_error *err)
{
    const size_t tensors = json_object_size(s->header);
    const char *name;
    json_t *value;
    dr_status rc = DR_OK;

    if (tensors > DR_TENSORS_MAX)
        return dr_fail(err, DR_EFORMAT, "%s: %zu tensors; at most %u are allowed", s->file.path, tensors,
                       DR_TENSORS_MAX);
    s->entries = calloc(tensors + 1, sizeof(s->entries[0]));
    if (!s->entries)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for %zu tensors", s->file.path, tensors);
    json_object_foreach(s->header, name, value)
    {
        if (!strcmp(name, METADATA)) {
            rc = check_metadata(s, value, err);
        } else {
            s->entries[s->count].name = name;
            s->entries[s->count].file = &s->file;
            rc = read_tensor(&s->entries[s->count++], value, data_begin, err);
        }
        if (rc)
            return rc;
    }
    return check_coverage(s, data_begin, err);
}

/* Read the header's length, and check that the file can have such a header. */
static dr_status read_length(const dr_safetensors *s, size_t *length, dr_error *err)
{
    unsigned char first[LENGTH_BYTES + 1];
    uint64_t bytes;
    dr_status rc;

    if (s->file.bytes <= LENGTH_BYTES)
        return dr_fail(err, DR_EFORMAT, "%s: %zu bytes are too short for a safetensors file", s->file.path,
                       s->file.bytes);
    rc = dr_input_file_read(&s->file, 0, first, sizeof(first), err);
    if (rc)
        return rc;
    bytes = load_le64(first);
    if (bytes > DR_SAFETENSORS_HEADER_BYTES_MAX)
        return dr_fail(err, DR_EFORMAT, "%s: a header of %llu bytes; at most %u are allowed", s->file.path,
                       (unsigned long long)bytes, DR_SAFETENSORS_HEADER_BYTES_MAX);
    /* The file is not trusted: subtract, so that no sum can wrap around. */
    if (bytes > s->file.bytes - LENGTH_BYTES)
        return dr_fail(err, DR_EFORMAT,
                       "%s: the header of %llu bytes runs past the end of the file (%zu bytes)", s->file.path,
                       (unsigned long long)bytes, s->file.bytes);
    if (bytes == 0 || first[LENGTH_BYTES] != '{')
        return dr_fail(err, DR_EFORMAT, "%s: the header does not begin with '{'", s->file.path);
    *length = (size_t)bytes;
    return DR_OK;
}

/* The file can't be a safetensors file.  If it is of another known kind, say so. */
static dr_status fail_with_kind(const dr_safetensors *s, dr_error *err)
{
    unsigned char first[DR_FILE_KIND_BYTES];
    const size_t bytes = s->file.bytes < sizeof(first) ? s->file.bytes : sizeof(first);
    const char *kind =
        dr_input_file_read(&s->file, 0, first, bytes, NULL) ? NULL : dr_file_kind(first, bytes);

    return kind ? dr_fail(err, DR_EFORMAT, "%s: this is %s", s->file.path, kind) : DR_EFORMAT;
}

static dr_status parse_header(dr_safetensors *s, const char *header, size_t bytes, dr_error *err)
{
    json_error_t parse_error;
    bool lacked_memory;
    dr_status rc = dr_json_text_check(header, bytes, s->file.path, err);

    if (rc)
        return rc;
    s->header = dr_json_load(header, bytes, JSON_REJECT_DUPLICATES, &lacked_memory, &parse_error);
    if (lacked_memory)
        return dr_fail(err, DR_ENOMEM, "%s: no memory to parse the header", s->file.path);
    if (!s->header)
        return dr_fail(err, DR_EFORMAT, "%s: header: %s at byte %d", s->file.path, parse_error.text,
                       parse_error.position);
    return DR_OK;
}

static dr_status parse(dr_safetensors *s, dr_error *err)
{
    size_t length = 0;
    char *header;
    dr_status rc = read_length(s, &length, err);

    if (rc == DR_EFORMAT)
        return fail_with_kind(s, err);
    if (rc)
        return rc;
    header = malloc(length);
    if (!header)
        return dr_fail(err, DR_ENOMEM, "%s: no memory for a header of %zu bytes", s->file.path, length);
    rc = dr_input_file_read(&s->file, LENGTH_BYTES, header, length, err);
    if (!rc)
        rc = parse_header(s, header, length, err);
    free(header);
    return rc ? rc : index_tensors(s, LENGTH_BYTES + length, err);
}

dr_status dr_safetensors_open(dr_safetensors *out, const char *path, dr_error *err)
{
    dr_status rc;

    memset(out, 0, sizeof(*out));
    rc = dr_input_file_open(&out->file, path, PTRDIFF_MAX, err);
    if (!rc)
        rc = parse(out, err);
    if (rc)
        dr_safetensors_close(out);
    return rc;
}

void dr_safetensors_close(dr_safetensors *s)
{
    json_decref(s->header);
    dr_input_file_close(&s->file);
    free(s->entries);
    memset(s, 0, sizeof(*s));
}
