#include <darkroom/version.h>

const char *dr_version(void)
{
    return DR_VERSION;
}
