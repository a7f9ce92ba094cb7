/* safetensors: a well-formed file is read exactly, and a file with any fault is refused with a line that
 * names the file and the tensor. */
#include "model/weights.h"

#include "base/half.h"
#include "tests/support/temp_folder.h"

#include <math.h>

TEMP_FOLDER_OF_GROUP(folder)

/* A file made of its three pieces; the data is 0, 1, 2, ... */
static const char *write_file(const char *name, const char *header, size_t data_bytes)
{
    const size_t header_bytes = strlen(header);
    unsigned char *bytes = malloc(8 + header_bytes + data_bytes);
    const char *path;

    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)header_bytes >> (8 * i));
    memcpy(bytes + 8, header, header_bytes);
    for (size_t i = 0; i < data_bytes; i++)
        bytes[8 + header_bytes + i] = (unsigned char)i;
    path = temp_write(&folder, name, bytes, 8 + header_bytes + data_bytes);
    free(bytes);
    return path;
}

static void assert_mentions(const dr_error *err, const char *text)
{
    if (!strstr(err->text, text))
        fail_msg("\"%s\" does not mention \"%s\"", err->text, text);
    assert_null(strchr(err->text, '\n'));
}

static void refused(const char *path, dr_status status, const char *mentions)
{
    dr_weights *w = (dr_weights *)&folder;
    dr_error err = { 0 };

    if (dr_weights_open_file(&w, path, &err) != status)
        fail_msg("%s: status %s instead of %s: \"%s\"", path, dr_status_name(err.status),
                 dr_status_name(status), err.text);
    assert_null(w);
    assert_int_equal(err.status, status);
    assert_mentions(&err, path);
    assert_mentions(&err, mentions);
}

/* --- well-formed ---------------------------------------------------------------------------- */

static void every_float_dtype_is_read(void **state)
{
    /* 8 + header is odd, so no tensor is aligned; trailing spaces are allowed. */
    const char *path = write_file("dtypes.safetensors",
                                  "{\"__metadata__\":{\"format\":\"pt\"},"
                                  "\"f32\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
                                  "\"bf16\":{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[14,22]},"
                                  "\"f16\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[8,14]},"
                                  "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[14,14]},"
                                  "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[22,26]},"
                                  "\"ids\":{\"dtype\":\"I64\",\"shape\":[1,2],\"data_offsets\":[26,42]}}    ",
                                  42);
    dr_weight_info info;
    dr_weights *w;
    dr_error err;
    float f[4];
    (void)state;

    assert_int_equal(dr_weights_open_file(&w, path, &err), DR_OK);
    assert_int_equal(dr_weights_count(w), 6);
    assert_string_equal(dr_weights_name(w, 0), "bf16");
    assert_string_equal(dr_weights_name(w, 5), "scalar");

    assert_int_equal(dr_weights_read(w, "f32", (int64_t[]){ 2, 1 }, 2, f, &err), DR_OK);
    assert_int_equal(dr_bits_from_float(f[0]), 0x03020100);
    assert_int_equal(dr_bits_from_float(f[1]), 0x07060504);
    assert_int_equal(dr_weights_read(w, "f16", (int64_t[]){ 3 }, 1, f, &err), DR_OK);
    assert_true(f[0] == dr_float_from_f16(0x0908) && f[2] == dr_float_from_f16(0x0d0c));
    assert_int_equal(dr_weights_read(w, "bf16", (int64_t[]){ 2, 2 }, 2, f, &err), DR_OK);
    assert_true(f[0] == dr_float_from_bf16(0x0f0e) && f[3] == dr_float_from_bf16(0x1514));
    assert_int_equal(dr_weights_read(w, "scalar", NULL, 0, f, &err), DR_OK);
    assert_int_equal(dr_bits_from_float(f[0]), 0x19181716);

    assert_true(dr_weights_find(w, "ids", &info));
    assert_int_equal(info.dtype, DR_I64);
    assert_string_equal(info.dtype_name, "I64");
    assert_int_equal(info.dims, 2);
    assert_int_equal(info.bytes, 16);
    assert_int_equal(dr_weights_read_bytes(w, "ids", 1, f, 1, &err), DR_OK);
    assert_int_equal(*(const unsigned char *)f, 27);
    assert_false(dr_weights_find(w, "id", &info));

    dr_weights_close(w);
}

static void shapes_must_match_up_to_trailing_ones(void **state)
{
    const char *path =
        write_file("shapes.safetensors",
                   "{\"conv.weight\":{\"dtype\":\"F32\",\"shape\":[2,3,1,1],\"data_offsets\":[0,24]},"
                   "\"ids\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[24,40]}}",
                   40);
    dr_weights *w;
    dr_error err;
    float f[6];
    (void)state;

    assert_int_equal(dr_weights_open_file(&w, path, &err), DR_OK);
    assert_int_equal(dr_weights_read(w, "conv.weight", (int64_t[]){ 2, 3 }, 2, f, &err), DR_OK);
    assert_int_equal(dr_weights_read(w, "conv.weight", (int64_t[]){ 2, 3, 1 }, 3, f, &err), DR_OK);
    assert_int_equal(dr_weights_read(w, "conv.weight", (int64_t[]){ 3, 2 }, 2, f, &err), DR_EFORMAT);
    assert_mentions(&err, path);
    assert_mentions(&err, "'conv.weight' has shape [2, 3, 1, 1]; the config asks for [3, 2]");
    assert_int_equal(dr_weights_read(w, "conv.weight", (int64_t[]){ 6 }, 1, f, &err), DR_EFORMAT);
    assert_int_equal(dr_weights_read(w, "conv.bias", (int64_t[]){ 2 }, 1, f, &err), DR_ENOTFOUND);
    assert_mentions(&err, path);
    assert_mentions(&err, "'conv.bias'");
    assert_int_equal(dr_weights_read(w, "ids", (int64_t[]){ 2 }, 1, f, &err), DR_EUNSUPPORTED);
    assert_mentions(&err, "'ids' is I64");
    dr_weights_close(w);
}

static void a_file_without_tensors_is_well_formed(void **state)
{
    dr_weights *w;
    dr_error err;
    (void)state;

    assert_int_equal(dr_weights_open_file(&w, write_file("none.safetensors", "{}", 0), &err), DR_OK);
    assert_int_equal(dr_weights_count(w), 0);
    dr_weights_close(w);
    dr_weights_close(NULL);
}

/* --- malformed headers ---------------------------------------------------------------------- */

#define ONE(dtype, shape, offsets) \
    "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define F32_AT(name, begin, end) \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[" #begin "," #end "]}"

static const struct bad_header {
    const char *header;
    size_t data_bytes;
    dr_status status;
    const char *mentions;
} BAD_HEADERS[] = {
    /* JSON */
    { "", 0, DR_EFORMAT, "too short" },
    { "", 4, DR_EFORMAT, "does not begin with '{'" },
    { "[]", 0, DR_EFORMAT, "does not begin with '{'" },
    { " {}", 0, DR_EFORMAT, "does not begin with '{'" },
    { "{", 0, DR_EFORMAT, "header: " },
    { "{}{}", 0, DR_EFORMAT, "header: " },
    { "{\"t\":\xff}", 0, DR_EFORMAT, "header: " },
    { "{\"a\\u0000b\":{}}", 0, DR_EFORMAT, "header: " },
    { "{\"t\":{},\"t\":{}}", 0, DR_EFORMAT, "duplicate" },
    { "{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, DR_EFORMAT,
      "duplicate" },
    { "{\"t\":[]}", 0, DR_EFORMAT, "tensor 't'" },
    { "{\"t\":null}", 0, DR_EFORMAT, "tensor 't'" },
    /* metadata */
    { "{\"__metadata__\":[]}", 0, DR_EFORMAT, "__metadata__" },
    { "{\"__metadata__\":{\"k\":1}}", 0, DR_EFORMAT, "'k' is not a string" },
    { "{\"__metadata__\":{\"k\":{}}}", 0, DR_EFORMAT, "'k' is not a string" },
    /* dtype */
    { "{\"t\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, DR_EFORMAT, "'t': no dtype" },
    { ONE("4", "[1]", "[0,4]"), 4, DR_EFORMAT, "'t': no dtype" },
    { ONE("\"F31\"", "[1]", "[0,4]"), 4, DR_EFORMAT, "'t': unknown dtype 'F31'" },
    { ONE("\"f32\"", "[1]", "[0,4]"), 4, DR_EFORMAT, "'t': unknown dtype 'f32'" },
    /* shape */
    { "{\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, DR_EFORMAT, "'t': shape is not a list" },
    { ONE("\"F32\"", "1", "[0,4]"), 4, DR_EFORMAT, "'t': shape is not a list" },
    { ONE("\"F32\"", "{}", "[0,4]"), 4, DR_EFORMAT, "'t': shape is not a list" },
    { ONE("\"F32\"", "[-1]", "[0,4]"), 4, DR_EFORMAT, "'t': dimension 0" },
    { ONE("\"F32\"", "[1,-1,-1]", "[0,4]"), 4, DR_EFORMAT, "'t': dimension 1" },
    { ONE("\"F32\"", "[1.0]", "[0,4]"), 4, DR_EFORMAT, "'t': dimension 0" },
    { ONE("\"F32\"", "[1e0]", "[0,4]"), 4, DR_EFORMAT, "'t': dimension 0" },
    { ONE("\"F32\"", "[\"1\"]", "[0,4]"), 4, DR_EFORMAT, "'t': dimension 0" },
    { ONE("\"F32\"", "[null]", "[0,4]"), 4, DR_EFORMAT, "'t': dimension 0" },
    { ONE("\"F32\"", "[NaN]", "[0,4]"), 4, DR_EFORMAT, "header: " },
    { ONE("\"F32\"", "[1,1,1,1,1]", "[0,4]"), 4, DR_EUNSUPPORTED, "'t': 5 dimensions" },
    { ONE("\"F32\"", "[9223372036854775807]", "[0,4]"), 4, DR_EFORMAT, "'t': the shape's size overflows" },
    { ONE("\"F32\"", "[4294967296,4294967296]", "[0,4]"), 4, DR_EFORMAT, "'t': the shape's size overflows" },
    { ONE("\"F32\"", "[65536,65536,65536,65536]", "[0,0]"), 0, DR_EFORMAT,
      "'t': the shape's size overflows" },
    { ONE("\"F32\"", "[18446744073709551617]", "[0,4]"), 4, DR_EFORMAT, "header: " },
    { ONE("\"F32\"", "[2]", "[0,4]"), 4, DR_EFORMAT, "'t': shape and dtype F32 make 64 bits" },
    { ONE("\"F32\"", "[0]", "[0,4]"), 4, DR_EFORMAT, "'t': shape and dtype" },
    { ONE("\"F16\"", "[1]", "[0,4]"), 4, DR_EFORMAT, "'t': shape and dtype" },
    { ONE("\"F4\"", "[3]", "[0,2]"), 2, DR_EFORMAT, "'t': shape and dtype F4 make 12 bits" },
    /* offsets */
    { "{\"t\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, DR_EFORMAT, "'t': data_offsets is not" },
    { ONE("\"F32\"", "[1]", "4"), 4, DR_EFORMAT, "'t': data_offsets is not" },
    { ONE("\"F32\"", "[1]", "[0]"), 4, DR_EFORMAT, "'t': data_offsets is not" },
    { ONE("\"F32\"", "[1]", "[0,4,8]"), 4, DR_EFORMAT, "'t': data_offsets is not" },
    { ONE("\"F32\"", "[1]", "[0,4.0]"), 4, DR_EFORMAT, "'t': data_offsets is not" },
    { ONE("\"F32\"", "[1]", "[0,\"4\"]"), 4, DR_EFORMAT, "'t': data_offsets is not" },
    { ONE("\"F32\"", "[1]", "[-4,0]"), 4, DR_EFORMAT, "'t': data_offsets [-4, 0]" },
    { ONE("\"F32\"", "[1]", "[4,0]"), 4, DR_EFORMAT, "'t': data_offsets [4, 0]" },
    { ONE("\"F32\"", "[1]", "[0,4]"), 3, DR_EFORMAT, "'t': data_offsets [0, 4]" },
    { ONE("\"F32\"", "[1]", "[9223372036854775803,9223372036854775807]"), 4, DR_EFORMAT,
      "'t': data_offsets" },
    { ONE("\"F32\"", "[1]", "[0,18446744073709551615]"), 4, DR_EFORMAT, "header: " },
    /* coverage */
    { ONE("\"F32\"", "[1]", "[0,4]"), 5, DR_EFORMAT, "1 bytes after the last tensor" },
    { "{}", 1, DR_EFORMAT, "1 bytes after the last tensor" },
    { ONE("\"F32\"", "[1]", "[4,8]"), 8, DR_EFORMAT,
      "'t': begins at byte 4 of the data, leaving a hole from byte 0" },
    { "{" F32_AT("a", 0, 4) "," F32_AT("b", 8, 12) "}", 12, DR_EFORMAT, "'b': begins at byte 8" },
    { "{" F32_AT("a", 0, 4) "," F32_AT("b", 2, 6) "}", 6, DR_EFORMAT,
      "'b': begins at byte 2 of the data, inside" },
    { "{" F32_AT("a", 0, 4) "," F32_AT("b", 0, 4) "}", 4, DR_EFORMAT,
      "begins at byte 0 of the data, inside" },
};

static void malformed_headers_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(BAD_HEADERS) / sizeof(BAD_HEADERS[0]); i++) {
        const struct bad_header *b = &BAD_HEADERS[i];
        refused(write_file("bad.safetensors", b->header, b->data_bytes), b->status, b->mentions);
    }
}

static void deep_nesting_is_refused(void **state)
{
    enum { DEPTH = 100000 };
    char *header = malloc(DEPTH + 8);
    (void)state;

    strcpy(header, "{\"t\":");
    memset(header + 5, '[', DEPTH);
    header[5 + DEPTH] = '\0';
    refused(write_file("deep.safetensors", header, 0), DR_EFORMAT, "header: ");
    free(header);
}

/* --- malformed files ------------------------------------------------------------------------ */

static void header_lengths_that_lie_are_refused(void **state)
{
    static const struct {
        uint64_t length;
        const char *mentions;
    } cases[] = {
        { UINT64_MAX, "at most 33554432" },
        { UINT64_MAX - 7, "at most 33554432" },
        { INT64_MAX, "at most 33554432" },
        { 1ull << 32, "at most 33554432" },
        { (32u << 20) + 1, "at most 33554432" },
        { 32u << 20, "runs past the end" },
        { 3, "runs past the end" },
        { 1, "header: " },
        { 0, "does not begin with '{'" },
    };
    unsigned char file[10] = { [8] = '{', [9] = '}' };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(file, &cases[i].length, 8);
        refused(temp_write(&folder, "length.safetensors", file, sizeof(file)), DR_EFORMAT, cases[i].mentions);
    }
}

/* A file is refused wherever it is cut, and opens if it is whole. */
static void every_truncation_is_refused(void **state)
{
    static const char HEADER[] = "{" F32_AT("a", 0, 4) "," F32_AT("b", 4, 8) "}";
    const size_t bytes = 8 + strlen(HEADER) + 8;
    const char *path = write_file("cut.safetensors", HEADER, 8);
    dr_weights *w;
    dr_error err;
    (void)state;

    assert_int_equal(dr_weights_open_file(&w, path, &err), DR_OK);
    dr_weights_close(w);
    for (size_t left = bytes; left-- > 0;) {
        assert_int_equal(truncate(path, (off_t)left), 0);
        refused(path, DR_EFORMAT, left == 0 ? "empty" : left <= 8 ? "too short" : "");
    }
}

/* Files that a failed download leaves under the name of the weights. */
static void what_is_something_else_is_named(void **state)
{
    static const struct {
        const char *bytes;
        size_t count;
        const char *mentions;
    } cases[] = {
#define FILE_OF(text) text, sizeof(text) - 1
        { FILE_OF("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 3438167536\n"),
          "git-lfs pointer in place of the file: 'git lfs pull'" },
        { FILE_OF("<!DOCTYPE html>\n<html><head><title>Sign in</title>"), "web page" },
        { FILE_OF("\r\n\t <HTML lang=en>"), "web page" },
        { FILE_OF("Entry not found"), "no such file" },
        { FILE_OF("PK\3\4\0\0\10\10\0\0\0\0archive/data.pkl"), "zip archive" },
        { FILE_OF("\x80\2}q\0(X\5\0\0\0epochq"), "pickle" },
        { FILE_OF("\x80\4\x95\x1a\0\0\0\0\0\0\0}"), "pickle" },
        { FILE_OF("GGUF\3\0\0\0\0\0\0\0"), "GGUF" },
        { FILE_OF("\x89HDF\r\n\x1a\n\0\0"), "HDF5" },
        { FILE_OF("\x1f\x8b\10\0\0\0\0\0\0"), "gzip" },
        { FILE_OF("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "zeros" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        refused(temp_write(&folder, "else.safetensors", cases[i].bytes, cases[i].count), DR_EFORMAT,
                cases[i].mentions);
}

/* A header's length may begin as a pickle does: 0x0280 = 640. */
static void a_header_is_not_taken_for_something_else(void **state)
{
    char header[641];
    dr_weights *w;
    dr_error err;
    (void)state;

    memset(header, ' ', 640);
    memcpy(header, "{}", 2);
    header[640] = '\0';
    if (dr_weights_open_file(&w, write_file("640.safetensors", header, 0), &err))
        fail_msg("%s", err.text);
    dr_weights_close(w);
}

/* The number of tensors and of values bounds the memory for a header. */
static void headers_too_large_for_a_model_are_refused(void **state)
{
    enum { TENSORS = 65537, ROOM = 80 };
    char *header = malloc((size_t)TENSORS * ROOM), *at = header;
    (void)state;

    assert_non_null(header);
    for (int i = 0; i < TENSORS; i++)
        at += sprintf(at, "%c\"t%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? ',' : '{',
                      i);
    strcpy(at, "}");
    refused(write_file("many.safetensors", header, 0), DR_EFORMAT, "65537 tensors; at most 65536");
    at = stpcpy(header, "{\"t\":[0");
    for (int i = 0; i < 1 << 20; i++)
        at = stpcpy(at, ",0");
    strcpy(at, "]}");
    refused(write_file("values.safetensors", header, 0), DR_EFORMAT, "more than 1048576 values");
    free(header);
}

/* If a file is written while it is read, the read fails, and is retriable: the file may be whole the next
 * time. */
static void a_file_that_changes_is_an_error_of_its_read(void **state)
{
    static const char HEADER[] = "{" F32_AT("a", 0, 4) "," F32_AT("b", 4, 8) "}";
    const char *path = write_file("changing.safetensors", HEADER, 8);
    dr_error err = { 0 };
    dr_weights *w;
    float value;
    (void)state;

    if (dr_weights_open_file(&w, path, &err))
        fail_msg("%s", err.text);
    assert_int_equal(dr_weights_check_unchanged(w, &err), DR_OK);
    assert_int_equal(truncate(path, (off_t)(8 + strlen(HEADER) + 5)), 0);
    assert_int_equal(dr_weights_read(w, "a", (int64_t[]){ 1 }, 1, &value, &err), DR_OK);
    assert_int_equal(dr_weights_read(w, "b", (int64_t[]){ 1 }, 1, &value, &err), DR_EIO);
    assert_true(err.retriable);
    assert_mentions(&err, path);
    assert_mentions(&err, "was cut while it was read");
    assert_int_equal(dr_weights_check_unchanged(w, &err), DR_EIO);
    assert_true(err.retriable);
    assert_mentions(&err, "was written while it was read");
    dr_weights_close(w);
}

static void what_is_not_a_file_is_refused(void **state)
{
    (void)state;
    refused(temp_path(&folder, "absent.safetensors"), DR_ENOTFOUND, "No such file");
    assert_int_equal(mkdir(temp_path(&folder, "dir.safetensors"), 0755), 0);
    refused(folder.file, DR_EFORMAT, "not a regular file");
    assert_int_equal(mkfifo(temp_path(&folder, "pipe.safetensors"), 0644), 0);
    refused(folder.file, DR_EFORMAT, "not a regular file");
    assert_int_equal(symlink("loop.safetensors", temp_path(&folder, "loop.safetensors")), 0);
    refused(folder.file, DR_EIO, "symbolic links"); /* unreadable for root, too */
}

/* --- folders and shards --------------------------------------------------------------------- */

static dr_status open_folder(const char *name, dr_error *err)
{
    dr_weights *w;
    const dr_status rc = dr_weights_open(&w, temp_path(&folder, name), err);

    assert_int_equal(w == NULL, rc != DR_OK);
    dr_weights_close(w);
    return rc;
}

static void a_part_is_found_by_its_names(void **state)
{
    static const char *const names[] = {
        "model.fp16.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.safetensors.index.json", /* shards of float32: rather than half precision */
        "model.safetensors",
        "diffusion_pytorch_model.safetensors",
    };
    dr_weight_info info;
    dr_error err;
    (void)state;

    /* Each is preferred to those before it. */
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const bool is_index = strstr(names[i], ".json");
        char path[80], header[80], index[80];
        dr_weights *w;
        snprintf(path, sizeof(path), "part/%s", is_index ? "shard.safetensors" : names[i]);
        snprintf(header, sizeof(header), "{\"t%zu\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                 i);
        write_file(path, header, 1);
        snprintf(path, sizeof(path), "part/%s", names[i]);
        snprintf(index, sizeof(index), "{\"weight_map\":{\"t%zu\":\"shard.safetensors\"}}", i);
        if (is_index)
            temp_write(&folder, path, index, strlen(index));
        assert_int_equal(dr_weights_open(&w, temp_path(&folder, "part"), &err), DR_OK);
        snprintf(header, sizeof(header), "t%zu", i);
        assert_true(dr_weights_find(w, header, &info));
        dr_weights_close(w);
    }
}

static void folders_without_safetensors_say_so(void **state)
{
    dr_error err;
    (void)state;

    assert_int_equal(open_folder("nowhere", &err), DR_ENOTFOUND);
    assert_mentions(&err, "/nowhere");
    temp_write(&folder, "bare/config.json", "{}", 2);
    assert_int_equal(open_folder("bare", &err), DR_ENOTFOUND);
    assert_mentions(&err, "/bare");
    assert_mentions(&err, "diffusion_pytorch_model.safetensors");
    temp_write(&folder, "torch/diffusion_pytorch_model.bin", "PK", 2);
    assert_int_equal(open_folder("torch", &err), DR_EUNSUPPORTED);
    assert_mentions(&err, "/torch");
    assert_mentions(&err, "diffusion_pytorch_model.bin");
    assert_mentions(&err, "safetensors");
}

#define INDEX "/diffusion_pytorch_model.safetensors.index.json"

static void write_index(const char *part, const char *text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s" INDEX, part);
    temp_write(&folder, path, text, strlen(text));
}

static void shards_make_one_part(void **state)
{
    float f = 0.0f;
    dr_weights *w;
    dr_error err;
    (void)state;

    write_file("shards/1.safetensors", "{" F32_AT("b", 0, 4) "}", 4);
    write_file("shards/2.safetensors", "{" F32_AT("a", 0, 4) "," F32_AT("c", 4, 8) "}", 8);
    write_index("shards",
                "{\"metadata\":{\"total_size\":12},\"weight_map\":{"
                "\"a\":\"2.safetensors\",\"b\":\"1.safetensors\",\"c\":\"2.safetensors\"}}");
    assert_int_equal(dr_weights_open(&w, temp_path(&folder, "shards"), &err), DR_OK);
    assert_int_equal(dr_weights_count(w), 3);
    assert_string_equal(dr_weights_name(w, 1), "b");
    assert_int_equal(dr_weights_read(w, "c", (int64_t[]){ 1 }, 1, &f, &err), DR_OK);
    assert_int_equal(dr_bits_from_float(f), 0x07060504);
    dr_weights_close(w);
}

/* What the reference's own library wrote: whole, half precision, in shards. */
static void golden_files_are_read(void **state)
{
    static const struct {
        const char *folder, *tensor, *dtype;
        int dims;
    } cases[] = {
        { "tests/goldens/models/sd1/text_encoder", "text_model.embeddings.position_ids", "I64", 2 },
        { "tests/goldens/models/sd1/unet", "conv_in.weight", "F32", 4 },
        { "tests/goldens/models/sd2/unet", "conv_out.weight", "F16", 4 },
        { "tests/goldens/models/inpaint/vae", "decoder.conv_in.weight", "BF16", 4 },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_weight_info info;
        dr_weights *w;
        dr_error err;
        if (dr_weights_open(&w, cases[i].folder, &err))
            fail_msg("%s", err.text);
        assert_true(dr_weights_find(w, cases[i].tensor, &info));
        assert_string_equal(info.dtype_name, cases[i].dtype);
        assert_int_equal(info.dims, cases[i].dims);
        dr_weights_close(w);
    }
}

static void a_bad_index_is_refused(void **state)
{
    static const struct {
        const char *index;
        dr_status status;
        const char *mentions, *mentions_too;
    } cases[] = {
        { "{}", DR_EFORMAT, INDEX, "weight_map" },
        { "[]", DR_EFORMAT, INDEX, "not a JSON object" },
        { "{\"weight_map\":{}}", DR_EFORMAT, INDEX, "weight_map" },
        { "{\"weight_map\":[\"a\"]}", DR_EFORMAT, INDEX, "weight_map" },
        { "{\"weight_map\":{\"a\":1}}", DR_EFORMAT, INDEX, "'a'" },
        { "{\"weight_map\":{\"a\":\"1.safetensors\",\"a\":\"2.safetensors\"}}", DR_EFORMAT, INDEX,
          "'a' is not in '2.safetensors'" }, /* the last one counts */
        { "{\"weight_map\":{\"a\":\"../bad-index/2.safetensors\"}}", DR_EFORMAT, INDEX,
          "'../bad-index/2.safetensors'" },
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", DR_EFORMAT, INDEX, "'/etc/passwd'" },
        { "{\"weight_map\":{\"a\":\"..\"}}", DR_EFORMAT, INDEX, "'..'" },
        { "{\"weight_map\":{\"a\":\"\"}}", DR_EFORMAT, INDEX, "''" },
        { "{\"weight_map\":{\"a\":\"3.safetensors\"}}", DR_ENOTFOUND, "/3.safetensors", "No such file" },
        { "{\"weight_map\":{\"x\":\"1.safetensors\"}}", DR_EFORMAT, INDEX, "'x' is not in '1.safetensors'" },
        { "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\"}}", DR_EFORMAT, INDEX,
          "'b' is not in '1.safetensors'" },
        { "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\",\"c\":\"4.safetensors\"}}",
          DR_EFORMAT, "/1.safetensors", "'a'" },
        { "{\"weight_map\":{\"a\":\"5.safetensors\"}}", DR_EFORMAT, "/5.safetensors", "too short" },
    };
    dr_error err;
    (void)state;

    write_file("bad-index/1.safetensors", "{" F32_AT("a", 0, 4) "}", 4);
    write_file("bad-index/2.safetensors", "{" F32_AT("b", 0, 4) "}", 4);
    write_file("bad-index/4.safetensors", "{" F32_AT("a", 0, 4) "," F32_AT("c", 4, 8) "}", 8);
    temp_write(&folder, "bad-index/5.safetensors", "{}", 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_index("bad-index", cases[i].index);
        assert_int_equal(open_folder("bad-index", &err), cases[i].status);
        assert_mentions(&err, cases[i].mentions);
        assert_mentions(&err, cases[i].mentions_too);
    }
}

static void too_many_shards_are_refused(void **state)
{
    char index[4096] = "{\"weight_map\":{";
    dr_error err;
    (void)state;

    for (int i = 0; i < 65; i++)
        sprintf(index + strlen(index), "%s\"t%d\":\"%d.safetensors\"", i ? "," : "", i, i);
    strcat(index, "}}");
    write_index("many", index);
    assert_int_equal(open_folder("many", &err), DR_EUNSUPPORTED);
    assert_mentions(&err, "more than 64 shards");
}

/* --- random weights ------------------------------------------------------------------------- */

static void moments(const float *f, size_t count, double *mean, double *deviation)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < count; i++) {
        sum += f[i];
        squares += (double)f[i] * f[i];
    }
    *mean = sum / (double)count;
    *deviation = sqrt(squares / (double)count - *mean * *mean);
}

static void random_weights_depend_on_seed_and_name_alone(void **state)
{
    enum { COUNT = 64 * 32 * 9 };
    const int64_t shape[] = { 64, 32, 3, 3 };
    float *a = malloc(COUNT * sizeof(*a)), *b = malloc(COUNT * sizeof(*b));
    double mean, deviation;
    dr_weights *w, *other;
    dr_weight_info info;
    dr_error err;
    (void)state;

    assert_int_equal(dr_weights_open_random(&w, 7, &err), DR_OK);
    assert_int_equal(dr_weights_open_random(&other, 8, &err), DR_OK);
    assert_false(dr_weights_find(w, "conv.weight", &info));
    assert_int_equal(dr_weights_count(w), 0);

    dr_weights_read(w, "conv.weight", shape, 4, a, &err);
    dr_weights_read(w, "conv.bias", shape, 4, b, &err);
    assert_memory_not_equal(a, b, COUNT * sizeof(*a));
    dr_weights_read(other, "conv.weight", shape, 4, b, &err);
    assert_memory_not_equal(a, b, COUNT * sizeof(*a));
    dr_weights_read(w, "conv.weight", shape, 4, b, &err);
    assert_memory_equal(a, b, COUNT * sizeof(*a));

    /* 18432 samples: the mean is off by 0.0074 deviations at one sigma, the deviation by 0.5 %. */
    moments(a, COUNT, &mean, &deviation);
    assert_true(fabs(mean) < 5 * 0.0074 / sqrt(288));
    assert_true(fabs(deviation * sqrt(288) - 1) < 0.025);
    dr_weights_read(w, "norm.weight", (int64_t[]){ COUNT }, 1, a, &err);
    moments(a, COUNT, &mean, &deviation);
    assert_true(fabs(mean - 1) < 0.01 && deviation > 0.01 && deviation < 0.1);
    dr_weights_read(w, "norm.bias", (int64_t[]){ COUNT }, 1, a, &err);
    moments(a, COUNT, &mean, &deviation);
    assert_true(fabs(mean) < 0.01 && deviation > 0.001 && deviation < 0.05);

    dr_weights_close(w);
    dr_weights_close(other);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_float_dtype_is_read),
        cmocka_unit_test(shapes_must_match_up_to_trailing_ones),
        cmocka_unit_test(a_file_without_tensors_is_well_formed),
        cmocka_unit_test(malformed_headers_are_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(header_lengths_that_lie_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(what_is_something_else_is_named),
        cmocka_unit_test(a_header_is_not_taken_for_something_else),
        cmocka_unit_test(headers_too_large_for_a_model_are_refused),
        cmocka_unit_test(a_file_that_changes_is_an_error_of_its_read),
        cmocka_unit_test(what_is_not_a_file_is_refused),
        cmocka_unit_test(a_part_is_found_by_its_names),
        cmocka_unit_test(folders_without_safetensors_say_so),
        cmocka_unit_test(shards_make_one_part),
        cmocka_unit_test(golden_files_are_read),
        cmocka_unit_test(a_bad_index_is_refused),
        cmocka_unit_test(too_many_shards_are_refused),
        cmocka_unit_test(random_weights_depend_on_seed_and_name_alone),
    };
    return cmocka_run_group_tests_name("weights", tests, open_temp, close_temp);
}
