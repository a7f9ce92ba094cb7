/* contact_sheet.h - many pictures in one, to look at.
 *
 *     [picture] [picture] [picture]
 *      a fox     a boat    a cat        labels, two lines at most
 */
#ifndef DR_WORKER_CONTACT_SHEET_H
#define DR_WORKER_CONTACT_SHEET_H

#include "base/error.h"

enum { DR_SHEET_PICTURES_MAX = 100 }; /* a sheet of more can't be looked at */

typedef struct dr_sheet_picture {
    const char *path;
    const char *label; /* UTF-8 */
} dr_sheet_picture;

/* A PNG at path: of more than DR_SHEET_PICTURES_MAX pictures, so many that stand evenly among them. count > 0. */
dr_status dr_contact_sheet_write(const char *path, const dr_sheet_picture *pictures, int count,
                                 dr_error *err);

#endif
