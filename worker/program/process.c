#include "worker/program/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* The limit for core files with which the process began. */
static struct rlimit cores;

bool dr_process_begin(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
            return false;
    /* The limit prevents core files.  The second call also prevents that the core is piped into a program. */
    if (getrlimit(RLIMIT_CORE, &cores) == 0)
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, cores.rlim_max });
    prctl(PR_SET_DUMPABLE, 0);
    return true;
}

void dr_process_allow_cores(void)
{
    setrlimit(RLIMIT_CORE, &cores);
    prctl(PR_SET_DUMPABLE, 1);
}
