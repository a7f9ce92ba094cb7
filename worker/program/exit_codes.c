#include "worker/program/exit_codes.h"

#include <string.h>

const dr_exit_code dr_exit_codes[] = {
#define X(name, code, commands, meaning, again) { (code), commands, meaning, again },
    DR_EXIT_CODES(X)
#undef X
};
const int dr_exit_code_count = sizeof(dr_exit_codes) / sizeof(dr_exit_codes[0]);

void dr_exit_codes_print(FILE *to, const char *command)
{
    fprintf(to, "\nExit codes:\n");
    for (int i = 0; i < dr_exit_code_count; i++) {
        const dr_exit_code *e = &dr_exit_codes[i];
        if (command && *e->commands && !strstr(e->commands, command))
            continue;
        fprintf(to, "  %d  %s%s%s%s\n", e->code, e->meaning, command || !*e->commands ? "" : " (",
                command ? "" : e->commands, command || !*e->commands ? "" : ")");
    }
}
