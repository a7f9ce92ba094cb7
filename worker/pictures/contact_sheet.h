/* contact_sheet.h - many pictures in one, to look at; more than fit on one in pages.
 *
 *     OUT/contact-sheet.png, OUT/contact-sheet-2.png, ...     DR_SHEET_PICTURES_MAX on each
 */
#ifndef DR_WORKER_PICTURES_CONTACT_SHEET_H
#define DR_WORKER_PICTURES_CONTACT_SHEET_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum {
    DR_SHEET_PICTURES_MAX = 100, /* a page of more can't be looked at */
    DR_SHEET_PAGES_MAX = 100,    /* a page takes a second; who has more pictures looks at them otherwise */
    DR_SHEET_NAME_MAX = 40,
};

typedef struct dr_sheet_picture {
    const char *path;
    const char *label; /* UTF-8: what was asked for */
    const char *id;    /* the job's */
    uint64_t seed;     /* the picture's */
} dr_sheet_picture;

typedef struct dr_sheet_pages {
    int pages;
    int left_out;     /* pictures beyond the last page that there may be */
    uint32_t missing; /* the first character of a label that no font here has; 0: none */
} dr_sheet_pages;

/* PNGs in the folder, of count > 0 pictures in their order.  Pages of an earlier sheet that had more are removed.
 * DR_EIO names a picture that can't be read; pages before it are written. */
dr_status dr_contact_sheet_write(const char *folder, const dr_sheet_picture *pictures, int count,
                                 dr_sheet_pages *out, dr_error *err);

/* "contact-sheet.png" of page 1, "contact-sheet-2.png". */
void dr_contact_sheet_name(char name[DR_SHEET_NAME_MAX], int page);
/* Whether a picture called ID.png could overwrite a page, or be overwritten by one. */
bool dr_contact_sheet_owns(const char *id);

/* Lines for people about what was written, with newlines: where it is, and what is wrong with it. */
void dr_contact_sheet_text(char *text, size_t size, const char *folder, const dr_sheet_pages *pages);

#endif
