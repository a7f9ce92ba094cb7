#include "worker/delivery/cut_note.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void dr_cut_say(char text[DR_CUT_TEXT_MAX], const char *format, ...)
{
    static const char more[] = ", ...";
    char part[DR_CUT_TEXT_MAX];
    const size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(part, sizeof(part), format, args);
    va_end(args);
    if (used + 2 + strlen(part) + sizeof(more) <= DR_CUT_TEXT_MAX)
        strcpy(stpcpy(text + used, used ? ", " : ""), part);
    else if (used + sizeof(more) <= DR_CUT_TEXT_MAX &&
             (used < sizeof(more) || strcmp(text + used - sizeof(more) + 1, more) != 0))
        strcpy(text + used, more);
}
