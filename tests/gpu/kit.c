/* gpu_kit NAME [ARGUMENT...] - the GPU's tests and the bench in one program (mk/gpu_kit.mk). */
#include <stdio.h>
#include <string.h>

/* A main() without arguments is called with two.  That does no harm with the calling conventions that we
 * use. */
#define PART(name) int name##_main(int argc, char **argv);
#include KIT_PARTS
#undef PART

static const struct part {
    const char *name;
    int (*main)(int argc, char **argv);
} parts[] = {
#define PART(name) { #name, name##_main },
#include KIT_PARTS
#undef PART
};
enum { PARTS = sizeof(parts) / sizeof(parts[0]) };

int main(int argc, char **argv)
{
    for (int i = 0; argc > 1 && i < PARTS; i++)
        if (!strcmp(argv[1], parts[i].name))
            return parts[i].main(argc - 1, argv + 1);
    fprintf(stderr, "usage: gpu_kit NAME [ARGUMENT...], where NAME is one of:\n");
    for (int i = 0; i < PARTS; i++)
        fprintf(stderr, "    %s\n", parts[i].name);
    return 2;
}
