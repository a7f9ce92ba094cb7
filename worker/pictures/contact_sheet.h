/* contact_sheet.h - pages of small pictures with captions, to look through what was drawn.
 *
 *     OUT/contact-sheet.png, OUT/contact-sheet-2.png, ...     DR_SHEET_PICTURES_MAX on each
 *
 * Any thread after dr_pictures_start(); one at a time for each folder. */
#ifndef DR_WORKER_PICTURES_CONTACT_SHEET_H
#define DR_WORKER_PICTURES_CONTACT_SHEET_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum {
    DR_SHEET_PICTURES_MAX = 100, /* on a page: more could not be told apart */
    DR_SHEET_PAGES_MAX = 100,    /* a page takes a second, and nobody looks through more pages */
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
    int left_out;     /* pictures for which there was no page left */
    uint32_t missing; /* the first character of a label that no font here has; 0: none */
} dr_sheet_pages;

/* Write the pages for count > 0 pictures, in their order, into the folder.  Pages that an earlier sheet
 * had beyond these are removed.  DR_EIO: a picture that cannot be read, named, or a page that cannot be
 * written; the pages before it are written.  DR_ENOMEM. */
dr_status dr_contact_sheet_write(const char *folder, const dr_sheet_picture *pictures, int count,
                                 dr_sheet_pages *out, dr_error *err);

/* The name of a page's file, counted from 1: "contact-sheet.png", "contact-sheet-2.png". */
void dr_contact_sheet_name(char name[DR_SHEET_NAME_MAX], int page);
/* Could the picture ID.png overwrite a page, or a page overwrite it? */
bool dr_contact_sheet_owns(const char *id);

/* What to tell people about the sheet, in lines with newlines: where it is, and what is missing from it. */
void dr_contact_sheet_text(char *text, size_t size, const char *folder, const dr_sheet_pages *pages);

#endif
