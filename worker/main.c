/* darkroom - the program: one subcommand a file (worker/cmd_NAME.c). */
#include <stdio.h>

int main(void)
{
    puts("darkroom: no subcommand yet");
    return 2;
}
