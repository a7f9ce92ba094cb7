#include "worker/render/csv.h"

#include <stdlib.h>
#include <string.h>

struct dr_csv {
    dr_text_file *file; /* borrowed */
    int separator;      /* 0: not known yet */
    bool after_blanks;  /* blanks before a cell are dropped */
    bool begun;         /* the first row has been read */
    long line;          /* lines that have been read */
    int last;           /* the last byte that was read */
    size_t used, max;   /* bytes of text that are in use; of cells, at most */
    char text[];        /* [max + DR_CSV_CELLS_MAX]: the cells of the current row, each with its 0 */
};

/* A row while it is read. */
typedef struct reading {
    dr_csv *csv;
    dr_csv_row *row;
    dr_status rc;
    dr_error *err;
    bool any;  /* it has something else than blanks */
    bool over; /* its end has been read */
} reading;

/* --- one cell --------------------------------------------------------------------------------- */

static int next_byte(dr_csv *csv)
{
    const int c = dr_text_file_next(csv->file);

    if (c >= 0)
        csv->last = c;
    return c;
}

static void note_fault(reading *r, const char *what)
{
    if (!r->rc)
        r->rc = dr_fail(r->err, DR_EFORMAT, "cell %d: %s", r->row->cells, what);
}

static bool is_kept(const reading *r)
{
    return r->row->cells <= DR_CSV_CELLS_MAX;
}

static bool is_blank(const reading *r, int c)
{
    return c == ' ' || (c == '\t' && r->csv->separator != '\t' && r->csv->begun);
}

static void put_byte(reading *r, int c)
{
    if (!c)
        note_fault(r, "a NUL");
    if (c != ' ' && c != '\t')
        r->any = true;
    if (!is_kept(r) && c != ' ' && c != '\t' && !r->row->beyond)
        r->row->beyond = r->row->cells;
    if (r->row->size++ < r->csv->max && is_kept(r))
        r->csv->text[r->csv->used++] = (char)c;
}

/* Whether c ends a cell that is not in quotes.  The first separator of the first row becomes the file's. */
static bool ends_cell(reading *r, int c)
{
    dr_csv *csv = r->csv;

    if (c < 0 || c == '\n' || c == '\r')
        return true;
    if (!csv->separator && (c == ',' || c == ';' || c == '\t'))
        csv->separator = c;
    return c == csv->separator;
}

/* Read the rest of a cell that began with a quote, up to the quote that ends it. */
static void read_quoted(reading *r)
{
    dr_text_file *file = r->csv->file;

    for (;;) {
        const int c = next_byte(r->csv);
        if (c < 0) {
            note_fault(r, "it begins with a quote, and no quote ends it");
            return;
        }
        if (c == '"') {
            if (dr_text_file_peek(file) != '"')
                return;
            next_byte(r->csv); /* "" */
        }
        put_byte(r, c);
        if (c == '\n' || (c == '\r' && dr_text_file_peek(file) != '\n'))
            r->csv->line++;
    }
}

static void end_row(reading *r, int c)
{
    r->over = true;
    if (c >= 0 ||
        (r->csv->last != '\n' &&
         r->csv->last != '\r')) /* where a quote stays open, the last line may have its end in the cell */
        r->csv->line++;
    if (c == '\r' && dr_text_file_peek(r->csv->file) == '\n')
        next_byte(r->csv);
}

static void read_cell(reading *r)
{
    dr_csv *csv = r->csv;
    int c = next_byte(csv);

    r->row->cells++;
    if (is_kept(r))
        r->row->cell[r->row->cells - 1] = csv->text + csv->used;
    if (!csv->begun && r->row->cells > 1 && c == ' ')
        csv->after_blanks = true;
    while (csv->after_blanks && is_blank(r, c))
        c = next_byte(csv);
    if (c == '"') {
        read_quoted(r);
        for (c = next_byte(csv); is_blank(r, c);)
            c = next_byte(csv);
        if (!ends_cell(r, c))
            note_fault(r, "text after the quote that ends it");
    }
    for (; !ends_cell(r, c); c = next_byte(csv))
        put_byte(r, c);
    if (is_kept(r))
        csv->text[csv->used++] = 0;
    if (c != csv->separator)
        end_row(r, c);
}

/* --- rows ------------------------------------------------------------------------------------------ */

dr_status dr_csv_open(dr_csv **out, dr_text_file *file, size_t row_bytes_max, dr_error *err)
{
    dr_csv *csv = calloc(1, sizeof(*csv) + row_bytes_max + DR_CSV_CELLS_MAX);

    *out = csv;
    if (!csv)
        return dr_fail(err, DR_ENOMEM, "no memory for a row of %zu bytes", row_bytes_max);
    csv->file = file;
    csv->max = row_bytes_max;
    return DR_OK;
}

void dr_csv_close(dr_csv *csv)
{
    free(csv);
}

bool dr_csv_has_decimal_commas(const dr_csv *csv)
{
    return csv->separator == ';';
}

/* Whether this is no row, but a first line of Excel ("sep=;") or of PowerShell's Export-Csv ("#TYPE ..."). */
static bool is_preamble(dr_csv *csv, const dr_csv_row *row)
{
    const char *text = row->cell[0];

    if (!csv->begun && row->cells == 1 && strncmp(text, "#TYPE ", 6) == 0)
        return true;
    if (csv->begun || strncmp(text, "sep=", 4))
        return false;
    if (row->cells == 1 && strlen(text) == 5)
        csv->separator = (unsigned char)text[4];
    return (row->cells == 1 && strlen(text) == 5) || (row->cells == 2 && !text[4] && !row->cell[1][0]);
}

/* Read one row, well-formed or not.  False at the end of the file. */
static bool read_row(reading *r)
{
    dr_csv *csv = r->csv;

    dr_text_file_skip_mark(csv->file);
    if (dr_text_file_peek(csv->file) < 0)
        return false;
    *r->row = (dr_csv_row){ .line = csv->line + 1 };
    r->rc = DR_OK;
    r->any = r->over = false;
    csv->used = 0;
    while (!r->over)
        read_cell(r);
    r->row->last_line = csv->line;
    if (!r->rc && r->row->size > csv->max)
        r->rc =
            dr_fail(r->err, DR_EFORMAT, "a row of %zu bytes; a job has at most %zu", r->row->size, csv->max);
    return true;
}

bool dr_csv_next(dr_csv *csv, dr_csv_row *row, dr_status *rc, dr_error *err)
{
    reading r = { .csv = csv, .row = row, .err = err };

    do {
        if (!read_row(&r))
            return false;
    } while (!r.rc && (!r.any || is_preamble(csv, row)));
    if (!csv->begun && !csv->separator)
        csv->separator = ',';
    csv->begun = true;
    *rc = r.rc;
    return true;
}
