/* csv.h - rows of cells, as spreadsheets and programs write them.
 *
 *     id;prompt                    the separator is the first of , ; and tab that stands in the first row,
 *     fox;"a red ""fox""; snow"    or the one that a line "sep=;" before it says
 *
 * A quote opens a cell only as its first character; elsewhere it is a character like others.  CR, LF and CR LF end a
 * row.  Where names of the first row stand after blanks, the cells of all rows do.  Rows without anything in them are
 * passed.  One thread. */
#ifndef DR_WORKER_RENDER_CSV_H
#define DR_WORKER_RENDER_CSV_H

#include "worker/support/text_file.h"

enum { DR_CSV_CELLS_MAX = 64 }; /* of a row that are kept: twice the fields of a job */

typedef struct dr_csv dr_csv;

typedef struct dr_csv_row {
    long line, last_line;         /* from 1; its first and its last */
    size_t size;                  /* bytes of its cells */
    int cells;                    /* all, also those that are not kept */
    char *cell[DR_CSV_CELLS_MAX]; /* 0-terminated; good until the next row */
    int beyond;                   /* number of the first cell that is not kept and not empty; 0: none */
} dr_csv_row;

/* Borrows the file, which stands at its start.  A row has at most row_bytes_max. */
dr_status dr_csv_open(dr_csv **out, dr_text_file *file, size_t row_bytes_max, dr_error *err);
void dr_csv_close(dr_csv *csv); /* NULL is allowed */

/* The next row; false at the end of the file, or where it can't be read any further.  *rc: DR_OK, or DR_EFORMAT with
 * *err for a row that is none; it is read to its end all the same. */
bool dr_csv_next(dr_csv *csv, dr_csv_row *row, dr_status *rc, dr_error *err);

/* ; as separator: such files write 7,5 for 7.5. */
bool dr_csv_has_decimal_commas(const dr_csv *csv);

#endif
