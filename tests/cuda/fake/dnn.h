/* dnn.h - a cuDNN that takes two shapes of graphs, is strict about every descriptor of them, and convolves
 * or attends on the host when the made-up stream comes to it.
 *
 *     dnn.c              the table of functions; asking
 *     dnn_descriptor.c   attributes, and what finalizing a descriptor finds wrong
 *     dnn_kernel.c       engines that may be chosen from, running a convolution
 *     dnn_attention.c    attention's graph, and running it
 *
 * One graph is the one that the library has compiled kernels for: a convolution, perhaps the addition of a
 * tensor, and the addition of a bias.  All tensors have one 16-bit type, are dense with channels last, and
 * have multiples of 8 channels; values between the operations are float32.  The other graph is attention,
 * with any strides in multiples of 8.  Its plans have code of their own, which is loaded at their first
 * run and goes with them.  Everything else is refused, or has no kernels.  A finalized descriptor has
 * copies of what it was made from, which may then go.  fake_cuda says which engines there are, and what is
 * wrong with them. */
#ifndef DR_TESTS_CUDA_FAKE_DNN_H
#define DR_TESTS_CUDA_FAKE_DNN_H

#include "ops/cuda/libraries.h"
#include "tests/cuda/fake/runtime.h"

#include <stdbool.h>
#include <stdint.h>

extern const cuda_dnn fake_dnn;

/* --- between these files ------------------------------------------------------------------- */

typedef struct fake_tensor {
    int64_t name, sides[4], strides[4], alignment;
    cudnnDataType_t type;
    bool is_virtual, by_value;
} fake_tensor;

typedef struct fake_graph {
    fake_tensor x, weight, added, bias, y;
    int64_t stride[2], before[2];
    bool has_added;
    bool attends; /* then these, and y, are all that there is */
    fake_tensor q, k, v, scale;
    int64_t rows;
    bool compiled; /* there are kernels for it */
} fake_graph;

typedef struct fake_engine {
    fake_graph graph;
    int index, build;
    int code; /* a plan's own; 0: it has none */
} fake_engine;

typedef struct fake_knob {
    cudnnBackendKnobType_t type;
    int64_t value;
} fake_knob;

typedef struct fake_pack {
    int64_t name[8];
    void *memory[8];
    int count;
    void *workspace;
} fake_pack;

cudnnStatus_t fake_dnn_fail(cudnnStatus_t code, const char *why); /* why: cudnnGetLastErrorString()'s */

/* Engines, in the heuristic's order; knobs of one: NULL ends them. */
int fake_dnn_engines(const fake_graph *graph, cudnnBackendHeurMode_t mode, int first_to_last[16]);
int fake_dnn_knobs(int index, fake_knob knob[4]);
int fake_dnn_notes(int index, cudnnBackendNumericalNote_t note[2]);
bool fake_dnn_compiles_late(const fake_engine *engine);
fake_kernel fake_dnn_kernel(int index);
int64_t fake_dnn_workspace(const fake_engine *engine);
cudnnStatus_t fake_dnn_check_engine(const fake_engine *engine);

/* Checks, and enqueues. */
cudnnStatus_t fake_dnn_run(const fake_engine *engine, const fake_pack *pack, cudaStream_t stream);
cudnnStatus_t fake_dnn_attend(const fake_engine *engine, const fake_pack *pack, cudaStream_t stream);

/* Its address, which must be there once, and aligned as was said if it is the device's. */
cudnnStatus_t fake_dnn_find(const fake_pack *pack, const fake_tensor *t, const void **memory);
float fake_dnn_read(const void *memory, cudnnDataType_t type, size_t i);
void fake_dnn_write(void *memory, cudnnDataType_t type, size_t i, float value);

/* Has the library kernels for that attention? */
bool fake_dnn_has_attention(const fake_graph *graph);

/* The code of a plan of attention: that it is still there is asserted when it runs. */
int fake_dnn_new_code(void);
void fake_dnn_unload(int code);

#endif
