/* host_memory.h - how much memory this process may have. */
#ifndef DR_WORKER_ENGINE_HOST_MEMORY_H
#define DR_WORKER_ENGINE_HOST_MEMORY_H

#include <stddef.h>

/* Bytes of the machine's memory, or of the container's limit (cgroup v2 or v1) where that is less.  Any
 * thread. */
size_t dr_host_memory_bytes(void);

#endif
