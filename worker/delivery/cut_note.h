/* cut_note.h - what was left out of a record, as the text of one of its headers.
 *
 *     darkroom-cut    "header x-blob of 900000 bytes, key to 100 of 2000 bytes" */
#ifndef DR_WORKER_DELIVERY_CUT_NOTE_H
#define DR_WORKER_DELIVERY_CUT_NOTE_H

#define DR_CUT_HEADER "darkroom-cut" /* the header's name */
enum { DR_CUT_TEXT_MAX = 256 };      /* bytes of its text, with the final 0 */

/* Appends one part to the text: "a" becomes "a, b".  A part for which the text has no room becomes "...".
 * The caller owns the text, which begins as "".  Any thread; cannot fail. */
__attribute__((format(printf, 2, 3))) void dr_cut_say(char text[DR_CUT_TEXT_MAX], const char *format, ...);

#endif
