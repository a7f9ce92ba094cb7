/* options.h - what a device can be asked for: a row for each option.  No option is spelled anywhere else.
 *
 * From a row come the field of dr_device_options (darkroom/device.h), the check of its value (ops/options.c),
 * and the program's setting: its default, its help, how it is read, and how it is handed to the device
 * (worker/settings/settings.c).  A new option is a row here and its use in ops.
 *
 *     TEXT(field, setting, preset, placeholder, help)               const char *
 *     CHOICE(field, setting, preset, placeholder, help, names ...)  const char *, one of the names
 *     COUNT(field, setting, preset, max, help)                      int, 0 .. max
 *     MIB(field, setting, preset, max, help)                        size_t, bytes; the setting is in MiB
 *     SWITCH(field, setting, preset, help)                          bool
 *
 * `field` is the name in dr_device_options, where zero is the default: for a CHOICE that is the first name.
 * `setting` is the name in the program, and `preset` the setting's default as it would stand in a file.  The
 * comment above a row says what is true of the field and is not in the help. */
#ifndef DARKROOM_OPTIONS_H
#define DARKROOM_OPTIONS_H

/* clang-format off */
#define DR_DEVICE_OPTIONS(TEXT, CHOICE, COUNT, MIB, SWITCH)                                                  \
    /* "cpu", "cuda:0".  "auto" is the first CUDA device that can be used, or else the CPU. */               \
    TEXT(name, device, "auto", "DEVICE",                                                                     \
         "Device that draws: auto, cpu, cuda:NUMBER or null. auto takes the first GPU that can be used, or " \
         "else the CPU. null makes pictures up, for trying everything else")                                 \
    /* CUDA: bytes of the device's memory that we may use. */                                                \
    MIB(memory_max, device_memory_mib, "0", 1 << 20,                                                         \
        "GPU memory this process may use, in MiB; 0 means all that is free")                                 \
    /* On a GPU: of our own kernels.  NULL and "" are the widest that the device has. */                     \
    TEXT(isa, isa, "", "INSTRUCTIONS",                                                                       \
         "Instruction set, for experiments: generic, avx2, avx512 or amx on a CPU, sm_80 or sm_90a on a "    \
         "GPU. Empty means the widest there is. A picture's bits depend on it")                              \
    /* CUDA. */                                                                                              \
    CHOICE(storage, storage, "f16", "TYPE",                                                                  \
           "Type in which a GPU stores weights and activations. Sums are always float32",                    \
           "f16", "bf16")                                                                                    \
    CHOICE(convolutions, convolutions, "own", "KERNELS",                                                     \
           "Kernels for convolutions on a GPU: our own, or cuDNN's where it has them. A picture's bits "     \
           "depend on it",                                                                                   \
           "own", "cudnn")                                                                                   \
    CHOICE(attention, attention, "own", "KERNELS",                                                           \
           "Kernels for attention on a GPU: our own, or cuDNN's for self-attention. A picture's bits "       \
           "depend on it",                                                                                   \
           "own", "cudnn")                                                                                   \
    /* CUDA, on Hopper. */                                                                                   \
    CHOICE(fp8, fp8, "off", "LAYERS",                                                                        \
           "Layers that a GPU of compute capability 9.0 multiplies in 8 bits: none, the UNet's "             \
           "convolutions, or the linear layers of its transformers too. A picture's bits depend on it, and " \
           "pictures are less exact",                                                                        \
           "off", "convolutions", "all")                                                                     \
    /* CUDA: kernels may be chosen for the number of rows.  A row's bits then depend on that number. */      \
    SWITCH(fast, fast, "false",                                                                              \
           "Use a GPU's fastest kernels, even those with which a picture's bits depend on the other "        \
           "pictures of the batch. Results say that this was on")                                            \
    /* CUDA. */                                                                                              \
    TEXT(cuda_libs, cuda_libs, "", "FOLDER:...",                                                             \
         "Folders of cuBLASLt, and of cuDNN where it is used, separated by colons. Empty means where the "   \
         "system's loader looks")                                                                            \
    /* CUDA.  The folder is made where it is missing.  NULL is none. */                                      \
    TEXT(plan_cache, plan_cache, "", "FOLDER",                                                               \
         "Folder that keeps what was measured of a GPU's kernels, which makes the next start faster. Empty " \
         "means darkroom in $XDG_CACHE_HOME or in ~/.cache; off means none")                                 \
    /* CPU. */                                                                                               \
    COUNT(threads, threads, "0", DR_THREADS_MAX,                                                             \
          "CPU threads to use; 0 means as many as CPU affinity and the control group's CPU quota allow")
/* clang-format on */

#endif
