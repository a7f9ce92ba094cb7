#include "worker/render/jobs_file.h"

#include "worker/jobs/job_fields.h"
#include "worker/render/csv.h"
#include "worker/support/text_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct dr_jobs_file {
    dr_text_file *file;
    const char *path, *id_prefix; /* borrowed */
    long count;                   /* jobs in the whole file; 0: not known */
    long line;                    /* the last line that was read */
    const dr_job *defaults;       /* borrowed; NULL: none */
    char *text;                   /* [TEXT_ROOM] the current line */
    dr_csv *csv;                  /* NULL: JSON Lines, or prompts */
    bool prompts;
    const dr_job_field *column[32];
    int columns;
};

enum { TEXT_ROOM = DR_JOB_LINE_BYTES_MAX + 2 }; /* for a line that is one byte too long, and its 0 */

/* --- JSON Lines ------------------------------------------------------------------------------- */

/* Read the next line that is not blank.  *text is cut at its limit and ends with 0; *size is that of the
 * whole line.  False at the end of the file. */
static bool read_line(dr_jobs_file *f, char **text, size_t *size)
{
    *text = f->text;
    for (;;) {
        dr_text_file_skip_mark(f->file);
        if (!dr_text_file_line(f->file, f->text, TEXT_ROOM, size))
            return false;
        f->line++;
        if (*size != strspn(f->text, " \t"))
            return true;
    }
}

/* --- CSV ----------------------------------------------------------------------------------------- */

/* The text without blanks at both ends, in place. */
static char *trim(char *text)
{
    size_t n;

    text += strspn(text, " \t");
    for (n = strlen(text); n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'); n--)
        ;
    text[n] = 0;
    return text;
}

static dr_status name_column(dr_jobs_file *f, int at, const char *name, long line, dr_error *err)
{
    const dr_job_field *field = dr_job_field_find(name);

    if (!*name)
        return dr_fail(err, DR_EINVAL, "%s:%ld: column %d has no name%s", f->path, line, at + 1,
                       at == 0 ? "; pandas writes its index so: use to_csv(..., index=False)" : "");
    if (!field)
        return dr_fail(err, DR_EINVAL, "%s:%ld: column %d: a job has no field \"%.64s\"", f->path, line,
                       at + 1, name);
    for (int i = 0; i < at; i++)
        if (f->column[i] == field)
            return dr_fail(err, DR_EINVAL, "%s:%ld: two columns are called %s", f->path, line, name);
    f->column[at] = field;
    return DR_OK;
}

/* Read the first row.  Columns at its end may have no name; then their cells must be empty. */
static dr_status read_header(dr_jobs_file *f, dr_error *err)
{
    dr_csv_row row;
    dr_status rc;
    dr_error why;

    if (!dr_csv_next(f->csv, &row, &rc, &why)) {
        rc = dr_text_file_status(f->file, err);
        return rc ? rc : dr_fail(err, DR_EINVAL, "%s: the first row must name fields of a job", f->path);
    }
    if (!rc && (row.beyond || row.cells > DR_CSV_CELLS_MAX))
        rc = dr_fail(&why, DR_EINVAL, "%d columns", row.cells);
    if (rc)
        return dr_fail(err, DR_EINVAL, "%s:%ld: the first row must name fields of a job: %s", f->path,
                       row.line, why.text);
    f->columns = row.cells;
    while (f->columns > 1 && !*trim(row.cell[f->columns - 1]))
        f->columns--;
    dr_assert(dr_job_field_count <= (int)(sizeof(f->column) / sizeof(f->column[0])));
    for (int i = 0; i < f->columns && !rc; i++)
        rc = name_column(f, i, trim(row.cell[i]), row.line, err); /* at most one column for each field */
    return rc;
}

static dr_status check_row(const dr_jobs_file *f, const dr_csv_row *row, dr_error *err)
{
    int unnamed = row->beyond;

    if (row->cells < f->columns)
        return dr_fail(err, DR_EFORMAT, "the row has %d cells; the first row has %d names", row->cells,
                       f->columns);
    for (int i = f->columns; i < row->cells && i < DR_CSV_CELLS_MAX && !unnamed; i++)
        unnamed = *trim(row->cell[i]) ? i + 1 : 0;
    if (unnamed)
        return dr_fail(err, DR_EFORMAT, "cell %d has no name: the first row has %d names", unnamed,
                       f->columns);
    return DR_OK;
}

/* Change 7,5 to 7.5, in place. */
static void use_decimal_point(char *text)
{
    char *comma = strchr(text, ',');

    if (comma && comma[1 + strspn(comma + 1, "0123456789")] == 0)
        *comma = '.';
}

static char *cell_of(const dr_jobs_file *f, const dr_csv_row *row, int i)
{
    const dr_field_type type = f->column[i]->type;
    char *text = type == DR_FIELD_TEXT ? row->cell[i] : trim(row->cell[i]);

    if (type == DR_FIELD_REAL && dr_csv_has_decimal_commas(f->csv))
        use_decimal_point(text);
    return text;
}

static dr_status parse_row(dr_jobs_file *f, dr_jobs_entry *e, const dr_csv_row *row)
{
    const char *id = e->fallback_id;
    dr_status rc;

    rc = check_row(f, row, &e->err);
    if (rc)
        return rc;
    for (int i = 0; i < f->columns; i++)
        if (f->column[i] == dr_job_field_find("id") && *trim(row->cell[i]))
            id = trim(row->cell[i]);
    e->job = dr_job_create();
    if (!e->job)
        return dr_fail(&e->err, DR_ENOMEM, "no memory for a job");
    rc = dr_job_set_text(e->job, dr_job_field_find("id"), id, &e->refusal, &e->err);
    for (int i = 0; i < f->columns && !rc; i++)
        rc = dr_job_set_text(e->job, f->column[i], cell_of(f, row, i), &e->refusal, &e->err);
    if (!rc && f->defaults)
        rc = dr_job_set_defaults(e->job, f->defaults, &e->err);
    return rc ? rc : dr_job_complete(e->job, &e->refusal, &e->err);
}

/* --- prompts --------------------------------------------------------------------------------------- */

static dr_status parse_prompt(const dr_jobs_file *f, dr_jobs_entry *e, char *text, size_t size)
{
    dr_field_value prompt;
    dr_status rc;

    if (size > DR_JOB_LINE_BYTES_MAX)
        return dr_fail(&e->err, DR_EFORMAT, "a line of %zu bytes; a job has at most %d", size,
                       DR_JOB_LINE_BYTES_MAX);
    e->job = dr_job_create();
    if (!e->job)
        return dr_fail(&e->err, DR_ENOMEM, "no memory for a job");
    for (; size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\t'); size--)
        ;
    for (; *text == ' ' || *text == '\t'; text++)
        size--;
    prompt = (dr_field_value){ DR_VALUE_STRING, .string = { text, size } };
    rc = dr_job_set_text(e->job, dr_job_field_find("id"), e->fallback_id, &e->refusal, &e->err);
    if (!rc)
        rc = dr_job_set(e->job, dr_job_field_find("prompt"), &prompt, &e->refusal, &e->err);
    if (!rc && f->defaults)
        rc = dr_job_set_defaults(e->job, f->defaults, &e->err);
    return rc ? rc : dr_job_complete(e->job, &e->refusal, &e->err);
}

/* --- the file -------------------------------------------------------------------------------------- */

static bool ends_in(const char *path, const char *suffix)
{
    const size_t n = strlen(path), m = strlen(suffix);
    return n >= m && strcasecmp(path + n - m, suffix) == 0;
}

/* Make the reader for the file's form.  It stands before the first job then. */
static dr_status begin_reading(dr_jobs_file *f, dr_error *err)
{
    dr_status rc;

    f->line = 0;
    dr_csv_close(f->csv);
    f->csv = NULL;
    if (!ends_in(f->path, ".csv") && !ends_in(f->path, ".tsv"))
        return DR_OK;
    rc = dr_csv_open(&f->csv, f->file, DR_JOB_LINE_BYTES_MAX, err);
    return rc ? rc : read_header(f, err);
}

static long count_jobs(dr_jobs_file *f)
{
    dr_csv_row row;
    dr_error err;
    dr_status rc;
    char *text;
    size_t size;
    long count = 0;

    while (f->csv ? dr_csv_next(f->csv, &row, &rc, &err) : read_line(f, &text, &size))
        count++;
    return count;
}

dr_status dr_jobs_file_open(dr_jobs_file **out, const char *path, const char *id_prefix, dr_error *err)
{
    dr_jobs_file *f = calloc(1, sizeof(*f));
    dr_status rc;

    *out = NULL;
    if (!f || !(f->text = malloc(TEXT_ROOM))) {
        free(f);
        return dr_fail(err, DR_ENOMEM, "%s: no memory", path);
    }
    f->path = path;
    f->id_prefix = id_prefix;
    f->prompts = ends_in(path, ".txt");
    rc = dr_text_file_open(&f->file, path, err);
    if (!rc && strcmp(path, "-") != 0 && dr_text_file_rewind(f->file)) {
        rc = begin_reading(f, err);
        f->count = rc ? 0 : count_jobs(f);
        if (!rc && !dr_text_file_rewind(f->file))
            rc = dr_fail(err, DR_EIO, "%s: can't be read twice", path);
    }
    if (!rc)
        rc = begin_reading(f, err);
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
    dr_csv_close(file->csv);
    dr_text_file_close(file->file);
    free(file->text);
    free(file);
}

void dr_jobs_file_set_defaults(dr_jobs_file *file, const dr_job *defaults)
{
    file->defaults = defaults;
}

const char *dr_jobs_file_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

bool dr_jobs_file_has_prompts(const dr_jobs_file *file)
{
    return file->prompts;
}

long dr_jobs_file_count(const dr_jobs_file *file)
{
    return file->count;
}

/* A job with nothing but an id, under which a bad line is answered. */
static dr_job *job_of_bad_line(const char *fallback_id)
{
    dr_job *job = dr_job_create();

    if (job && !(job->id = strdup(fallback_id))) {
        dr_job_free(job);
        job = NULL;
    }
    return job;
}

/* Read the next line as a job.  False at the end of the file. */
static bool next_line(dr_jobs_file *f, dr_jobs_entry *e)
{
    char *text;
    size_t size;

    if (!read_line(f, &text, &size))
        return false;
    e->line = e->last_line = f->line;
    snprintf(e->fallback_id, sizeof(e->fallback_id), "%s%06ld", f->id_prefix, e->line);
    e->rc = f->prompts ? parse_prompt(f, e, text, size)
                       : dr_job_parse(&e->job,
                                      &(dr_job_line){ .text = text,
                                                      .size = size,
                                                      .fallback_id = e->fallback_id,
                                                      .defaults = f->defaults },
                                      &e->refusal, &e->err);
    return true;
}

static bool next_row(dr_jobs_file *f, dr_jobs_entry *e)
{
    dr_csv_row row;

    if (!dr_csv_next(f->csv, &row, &e->rc, &e->err))
        return false;
    e->line = row.line;
    e->last_line = f->line = row.last_line;
    snprintf(e->fallback_id, sizeof(e->fallback_id), "%s%06ld", f->id_prefix, e->line);
    if (!e->rc)
        e->rc = parse_row(f, e, &row);
    return true;
}

bool dr_jobs_file_next(dr_jobs_file *file, dr_jobs_entry *e)
{
    *e = (dr_jobs_entry){ .rc = DR_OK };
    if (!(file->csv ? next_row(file, e) : next_line(file, e)))
        return false;
    if (e->rc != DR_OK && e->last_line > e->line)
        dr_fail_within(&e->err, "lines %ld to %ld", e->line, e->last_line);
    if (e->rc != DR_OK && (!e->job || !e->job->id)) {
        dr_job_free(e->job);
        e->job = job_of_bad_line(e->fallback_id);
    }
    return true;
}

dr_status dr_jobs_file_status(const dr_jobs_file *file, dr_error *err)
{
    const dr_status rc = dr_text_file_status(file->file, err);
    return rc && err ? dr_fail_within(err, "after line %ld", file->line) : rc;
}
