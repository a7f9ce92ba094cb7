#include "worker/jobs_file.h"

#include "worker/job_fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dr_jobs_file {
    FILE *file;
    const char *path, *id_prefix; /* borrowed */
    bool csv;
    long count, line; /* line: of those that were read */
    char *text;       /* the line or row of now */
    size_t room, size;
    const dr_job_field *column[32]; /* CSV */
    int columns;
};

/* --- lines and rows --------------------------------------------------------------------------- */

static bool is_blank(const char *line)
{
    return line[strspn(line, " \t\r\n")] == 0;
}

/* Whether a quote is open after this line, so that the row goes on in the next one. */
static bool is_open(bool before, const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        before ^= line[i] == '"'; /* "" closes and opens again */
    return before;
}

/* The next line that is not blank; in CSV with those that its quotes reach into.  0 at the end. */
static size_t read_text(dr_jobs_file *f, long *first_line)
{
    char *more = NULL;
    size_t more_room = 0;
    ssize_t n;
    bool open;

    do {
        n = getline(&f->text, &f->room, f->file);
        f->line += n > 0;
    } while (n > 0 && is_blank(f->text));
    *first_line = f->line;
    f->size = n > 0 ? (size_t)n : 0;
    open = f->csv && is_open(false, f->text, f->size);
    while (open && f->size <= DR_JOB_LINE_BYTES_MAX && (n = getline(&more, &more_room, f->file)) > 0) {
        if (f->size + (size_t)n + 1 > f->room) {
            char *text = realloc(f->text, 2 * (f->size + (size_t)n + 1));
            if (!text)
                break;
            f->text = text;
            f->room = 2 * (f->size + (size_t)n + 1);
        }
        memcpy(f->text + f->size, more, (size_t)n + 1);
        f->size += (size_t)n;
        f->line++;
        open = is_open(open, more, (size_t)n);
    }
    free(more);
    return f->size;
}

/* One cell, unquoted in place; *rest is what follows it, NULL after the last.  NULL: a quote in a wrong place. */
static char *take_cell(char *text, char **rest)
{
    char *to = text, *from = text;

    if (*from == '"') {
        for (from++; *from; from++) {
            if (*from == '"' && from[1] != '"')
                break;
            from += *from == '"'; /* "" */
            *to++ = *from;
        }
        if (*from != '"')
            return NULL;
        from++;
    } else {
        while (*from && !strchr(",\"\r\n", *from))
            *to++ = *from++;
    }
    if (*from && !strchr(",\r\n", *from))
        return NULL;
    *rest = *from == ',' ? from + 1 : NULL;
    *to = 0;
    return text;
}

/* --- CSV ----------------------------------------------------------------------------------------- */

static dr_status read_header(dr_jobs_file *f, dr_error *err)
{
    const int most = sizeof(f->column) / sizeof(f->column[0]);
    char *rest;
    long line;

    if (read_text(f, &line) == 0)
        return dr_fail(err, DR_EINVAL, "%s: the first row must name fields of a job", f->path);
    rest = f->text;
    if (f->size >= 3 && memcmp(rest, "\xef\xbb\xbf", 3) == 0)
        rest += 3; /* spreadsheets begin so */
    while (rest) {
        const char *name = take_cell(rest, &rest);
        const dr_job_field *field = name ? dr_job_field_find(name) : NULL;
        if (!field)
            return dr_fail(err, DR_EINVAL, "%s:%ld: column %d: a job has no field \"%.64s\"", f->path, line,
                           f->columns + 1, name ? name : "");
        for (int i = 0; i < f->columns; i++)
            if (f->column[i] == field)
                return dr_fail(err, DR_EINVAL, "%s:%ld: two columns are called %s", f->path, line, name);
        dr_assert(f->columns < most); /* a column for each field at most */
        f->column[f->columns++] = field;
    }
    return DR_OK;
}

static dr_status take_row(dr_jobs_file *f, dr_jobs_entry *e, char **cell)
{
    char *rest = f->text;

    if (f->size > DR_JOB_LINE_BYTES_MAX)
        return dr_fail(&e->err, DR_EFORMAT, "a row of %zu bytes; a job has at most %d", f->size,
                       DR_JOB_LINE_BYTES_MAX);
    if (strlen(f->text) != f->size)
        return dr_fail(&e->err, DR_EFORMAT, "a row with a NUL in it");
    for (int i = 0; rest; i++) {
        if (i == f->columns)
            return dr_fail(&e->err, DR_EFORMAT, "the row has more cells than the first one has names");
        cell[i] = take_cell(rest, &rest);
        if (!cell[i])
            return dr_fail(&e->err, DR_EFORMAT, "cell %d: a quote in a wrong place", i + 1);
    }
    return DR_OK;
}

static dr_status parse_row(dr_jobs_file *f, dr_jobs_entry *e)
{
    char *cell[sizeof(f->column) / sizeof(f->column[0])] = { 0 };
    const char *id = e->fallback_id;
    dr_status rc = take_row(f, e, cell);

    if (rc)
        return rc;
    for (int i = 0; i < f->columns; i++)
        if (f->column[i] == dr_job_field_find("id") && cell[i] && *cell[i])
            id = cell[i];
    e->job = dr_job_create();
    if (!e->job)
        return dr_fail(&e->err, DR_ENOMEM, "no memory for a job");
    rc = dr_job_set_text(e->job, dr_job_field_find("id"), id, &e->refusal, &e->err);
    for (int i = 0; i < f->columns && !rc; i++)
        if (cell[i])
            rc = dr_job_set_text(e->job, f->column[i], cell[i], &e->refusal, &e->err);
    return rc ? rc : dr_job_complete(e->job, &e->refusal, &e->err);
}

/* --- the file -------------------------------------------------------------------------------------- */

static bool ends_in_csv(const char *path)
{
    const size_t n = strlen(path);
    return n >= 4 && strcmp(path + n - 4, ".csv") == 0;
}

static long count_jobs(dr_jobs_file *f)
{
    long count = 0, line;

    if (fseek(f->file, 0, SEEK_END))
        return 0;
    rewind(f->file);
    while (read_text(f, &line) > 0)
        count++;
    rewind(f->file);
    f->line = 0;
    return count - (f->csv && count > 0); /* the row of names */
}

dr_status dr_jobs_file_open(dr_jobs_file **out, const char *path, const char *id_prefix, dr_error *err)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    dr_jobs_file *f = calloc(1, sizeof(*f));
    dr_status rc = DR_OK;

    *out = NULL;
    if (!f)
        return dr_fail(err, DR_ENOMEM, "%s: no memory", path);
    f->path = path;
    f->id_prefix = id_prefix;
    f->csv = ends_in_csv(path);
    f->file = is_stdin ? stdin : fopen(path, "r");
    if (!f->file)
        rc = dr_fail_errno(err, DR_ENOTFOUND, "%s", path);
    if (!rc) {
        f->count = is_stdin ? 0 : count_jobs(f);
        rc = f->csv ? read_header(f, err) : DR_OK;
    }
    if (rc) {
        dr_jobs_file_close(f);
        return rc;
    }
    *out = f;
    return DR_OK;
}

void dr_jobs_file_close(dr_jobs_file *file)
{
    if (!file)
        return;
    if (file->file && file->file != stdin)
        fclose(file->file);
    free(file->text);
    free(file);
}

long dr_jobs_file_count(const dr_jobs_file *file)
{
    return file->count;
}

/* What a line that is no job is answered under. */
static dr_job *job_of_bad_line(const char *fallback_id)
{
    dr_job *job = dr_job_create();

    if (job && !(job->id = strdup(fallback_id))) {
        dr_job_free(job);
        job = NULL;
    }
    return job;
}

bool dr_jobs_file_next(dr_jobs_file *file, dr_jobs_entry *e)
{
    *e = (dr_jobs_entry){ .rc = DR_OK };
    if (read_text(file, &e->line) == 0)
        return false;
    snprintf(e->fallback_id, sizeof(e->fallback_id), "%s%06ld", file->id_prefix, e->line);
    if (file->csv)
        e->rc = parse_row(file, e);
    else
        e->rc = dr_job_parse(&e->job, file->text, file->size, e->fallback_id, &e->refusal, &e->err);
    if (e->rc != DR_OK && (!e->job || !e->job->id)) {
        dr_job_free(e->job);
        e->job = job_of_bad_line(e->fallback_id);
    }
    return true;
}

dr_status dr_jobs_file_status(const dr_jobs_file *file, dr_error *err)
{
    return ferror(file->file)
               ? dr_fail(err, DR_EIO, "%s: can't be read after line %ld", file->path, file->line)
               : DR_OK;
}
