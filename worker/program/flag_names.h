/* flag_names.h - how the flags of settings and job fields are spelled. */
#ifndef DR_WORKER_PROGRAM_FLAG_NAMES_H
#define DR_WORKER_PROGRAM_FLAG_NAMES_H

#include "worker/settings/settings.h"

enum { DR_FLAG_NAME_MAX = 32 }; /* longer than every name of a setting or field */
/* The flag of a setting or field, without --: negative_prompt gives "negative-prompt". */
void dr_flag_name(char name[DR_FLAG_NAME_MAX], const char *key);
/* Whether --no-NAME is a flag as well: of a BOOL that is true by default. */
bool dr_flag_has_no(const dr_setting *setting);

#endif
