/* csv.h - rows of cells, as spreadsheets and programs write them.
 *
 *     id;prompt                    the separator is the first of , ; and tab that stands in the first row,
 *     fox;"a red ""fox""; snow"    or the one that a line "sep=;" before it says
 *
 * A quote opens a cell only as its first character.  Elsewhere it is a character like others.  CR, LF and
 * CR LF end a row.  Where the first row has blanks before its names, blanks before the cells of all rows
 * are dropped.  Empty rows are skipped.
 *
 * Threads: one at a time. */
#ifndef DR_WORKER_RENDER_CSV_H
#define DR_WORKER_RENDER_CSV_H

#include "worker/support/text_file.h"

enum { DR_CSV_CELLS_MAX = 64 }; /* cells of a row that are kept: more than twice the fields of a job */

typedef struct dr_csv dr_csv;

typedef struct dr_csv_row {
    long line, last_line;         /* the row's first and last line in the file, from 1 */
    size_t size;                  /* bytes of its cells */
    int cells;                    /* all cells, also those that are not kept */
    char *cell[DR_CSV_CELLS_MAX]; /* 0-terminated; good until the next row */
    int beyond;                   /* number of the first cell that is not kept and not empty; 0: none */
} dr_csv_row;

/* Read rows of a file that stands at its start, and that is borrowed until dr_csv_close().  A row with
 * more than row_bytes_max bytes is refused.  On success *out is the caller's.  DR_ENOMEM. */
dr_status dr_csv_open(dr_csv **out, dr_text_file *file, size_t row_bytes_max, dr_error *err);
void dr_csv_close(dr_csv *csv); /* NULL is allowed */

/* Read the next row.  False at the end of the file, or where it can't be read any further.  *rc is DR_OK;
 * or DR_EFORMAT, with *err, for a row that is not well-formed.  Such a row is read to its end as well. */
bool dr_csv_next(dr_csv *csv, dr_csv_row *row, dr_status *rc, dr_error *err);

/* Whether the separator is ; which stands where numbers are written as 7,5. */
bool dr_csv_has_decimal_commas(const dr_csv *csv);

#endif
