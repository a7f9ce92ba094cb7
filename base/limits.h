/* limits.h - limits that several files need, and limits that bound memory, with their reasons.
 *
 * Each queue, buffer and count has a limit.  Limits that only one file needs, such as times and numbers of
 * tries, stand at the top of that file.  The limits of what a user may set in a job (steps, sizes,
 * guidance) are in worker/jobs/job_fields.c, one row for each field. */
#ifndef DR_BASE_LIMITS_H
#define DR_BASE_LIMITS_H

#include <darkroom/limits.h> /* limits that callers of libdarkroom need */

enum {
    /* --- engine ------------------------------------------------------------------ */
    DR_CHANNELS_MAX = 16384,         /* of a layer: the product of two fits into int; SD has 10240 */
    DR_LAYERS_MAX = 64,              /* resnets of a block, layers of a text encoder; SD has 23 */
    DR_VOCAB_MAX = 1 << 20,          /* tokens of a text encoder; CLIP has 49408 */
    DR_TOKENS = 77,                  /* of a prompt: CLIP has so many position embeddings */
    DR_CALLS_MAX = 2 * DR_STEPS_MAX, /* UNet calls of a run: heun makes two a step, pndm 1 or 9 more */
    DR_TRAIN_TIMESTEPS_MAX = 10000,  /* of a sampler config: its tables have so many places; SD has 1000 */
    DR_HISTORY_MAX = 4,              /* older values that a sampler keeps: pndm needs 4 */
    DR_LATENT_CHANNELS_MAX = 16,     /* SD has 4; arrays on the stack have so many places */
    DR_BLOCKS_MAX = 8,               /* down (or up) blocks of a UNet or VAE; SD has 4 */
    DR_SKIPS_MAX = 48,               /* a UNet's skip connections, all alive at once; SD has 12 */
    DR_ARENA_BLOCKS_MAX = 64,        /* activations alive at once: DR_SKIPS_MAX, and what one block needs */
    DR_SIDE_MAX = 2048,              /* pixels per side: attention grows with its 4th power */
    DR_TOKEN_BYTES_MAX = 512,        /* of one entry of a vocabulary: CLIP's longest has 54 */
    DR_SPECIAL_TOKENS_MAX = 256,     /* of a tokenizer: CLIP has 2 or 3, and each embedding adds some */
    DR_PROMPT_BYTES_MAX = 16384,     /* 77 tokens are far shorter; a longer prompt is a mistake */

    /* --- a GPU ------------------------------------------------------------------- */
    DR_CUDA_DEVICES_MAX = 64, /* of a machine; the largest have 16 */
    DR_RECORDINGS_MAX = 64,   /* of a run: a CUDA graph of a UNet takes some MiB */
    DR_CALLS_AHEAD_MAX = 2,   /* UNet calls begun and not done: few, so that a cancel takes effect soon */
    DR_CUDA_STAGING_BUFFERS =
        32, /* pinned buffers: for the latents of a batch, while the batch before runs */
    DR_CUDA_STAGING_BYTES = 512 << 10,    /* of a buffer: to copy so much takes longer than to begin a copy */
    DR_CUDA_MEMORY_BYTES_MIN = 256 << 20, /* free for Darkroom; a device with less is in use by others */
    DR_CUDA_BLAS_WORKSPACE_BYTES = 32 << 20, /* cuBLAS itself takes so much on Hopper */
    DR_CUDA_CANDIDATES_MAX = 8, /* kernels measured for a layer: the best guesses of the library */
    DR_CUDA_MEASURED_RUNS = 4,  /* of each: one of them will be undisturbed */
    DR_CUDA_TRIAL_BYTES_MAX =
        512 << 20,            /* scratch memory to measure a layer in: more than a GPU works on at once */
    DR_CUDA_PLANS_MAX = 4096, /* kept: a size of picture needs dozens; all take 3/4 MiB */
    DR_CUDA_DNN_PLANS_MAX =
        1024, /* cuDNN's, kept: 125 KiB of host memory each and 0.2 ms to make (attention: 400 KiB, 0.5 s) */
    DR_CUDA_RESERVE_BYTES = 512 << 20, /* left free: CUDA loads code and keeps workspaces while it runs */

    /* --- jobs -------------------------------------------------------------------- */
    DR_IMAGES_MAX = 16,                 /* of one job; for more, send several jobs */
    DR_BATCH_JOBS_MAX = DR_SAMPLES_MAX, /* of one batch: each job has at least one sample */
    DR_NAME_BYTES_MAX = 128,            /* of an id: with a suffix it is a file name */
    DR_FOLDER_NAME_BYTES_MAX = 255,     /* of a model: file systems allow no longer names */
    DR_MODEL_FAILURES_MAX =
        64, /* models that are remembered as broken: others may be tried again too early */
    DR_JOB_BYTES_MAX = 8 << 20,         /* of a message: it may have a picture in it */
    DR_CONFIG_LINE_BYTES_MAX = 1 << 16, /* of the config file: a key in PEM is the longest value */
    DR_SECRET_BYTES_MAX = 1 << 15,      /* of a file with a password or a key */
    DR_RESULT_LINE_BYTES_MAX =
        1 << 20,                     /* of results.jsonl: two prompts, escaped, and DR_IMAGES_MAX pictures */
    DR_JOB_LINE_BYTES_MAX = 1 << 20, /* of a line of a jobs file: two prompts, escaped */
    DR_RESULT_BYTES_MAX = 256 << 20, /* of a message: DR_IMAGES_MAX pictures of DR_SIDE_MAX, as PNG */

    DR_ASIDE_JOBS_MAX =
        4096, /* jobs that wait for a model or for memory: some KiB each; as many as a partition's window */
    DR_SHORTAGE_TRIES_MAX = 4, /* of a job, 1, 2 and 4 s apart: an operator must end a longer shortage */

    /* --- delivery ---------------------------------------------------------------- */
    DR_LEDGER_WINDOW =
        4096, /* from a partition's slowest job to its newest: 684 or 2052 bytes in a commit, of 4096 */
    DR_DEVICE_LOSSES_MAX =
        3, /* that one job may be in: a neighbour may have caused one, and the device two */
    DR_INBOX_MESSAGES_MAX = 32, /* jobs that are read and not decoded: no other worker can get these */
    DR_HEADER_BYTES_MAX =
        8192, /* of a header that is copied into a result: web servers have the same limit */
    DR_LETTER_HEADERS_MAX =
        256, /* of a dead letter, of which each is cut by its own size; more are cut together */
    DR_CANCELLATIONS_MAX = 1024,  /* kept for jobs that have not arrived yet */
    DR_CONTROL_BYTES_MAX = 4096,  /* of a control message: it has an id in it */
    DR_PUBLISH_WAITING_MAX = 512, /* results that wait for the broker: with more, the device waits */
    DR_PUBLISH_ITEMS_MAX = 512,   /* results in one transaction, which takes 20 ms however few they are */
    DR_PUBLISH_BYTES_MAX =
        32 << 20, /* of both of these: so much reaches a broker within message.timeout.ms */

    /* --- probes and metrics ----------------------------------------------------------- */
    DR_HTTP_CONNECTIONS_MAX = 64, /* scrapers, probes and people are few, and an answer takes a millisecond */
    DR_HTTP_PER_ADDRESS_MAX = 16, /* one address has fewer: a node's kubelet and scrapers */
    DR_HTTP_REQUEST_MS =
        5000, /* from the connection to the end of the answer: a kubelet waits 1 s, a scraper 10 s */
};

/* --- weights -------------------------------------------------------------------- */
#define DR_SAFETENSORS_HEADER_BYTES_MAX \
    (32u << 20)                       /* a thousand tensors take 0.1 MB, and the notes of trainers some MB */
#define DR_TENSORS_MAX 65536u         /* of a file; SD's UNet has 686 */
#define DR_SHARDS_MAX 64u             /* files of one sharded model */
#define DR_JSON_BYTES_MAX (16u << 20) /* config.json, index, vocab.json: real ones are < 2 MiB */
#define DR_JSON_VALUES_MAX (1u << 20) /* of a file: jansson takes up to 150 bytes for each */
#define DR_MERGES_BYTES_MAX (16u << 20) /* merges.txt: CLIP's has 0.5 MiB */

#endif
