/* relax.h - a thread calls this in each turn of a short loop that waits for another thread. */
#ifndef DR_BASE_RELAX_H
#define DR_BASE_RELAX_H

static inline void dr_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
