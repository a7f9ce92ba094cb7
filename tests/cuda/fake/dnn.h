/* dnn.h - a cuDNN that accepts two kinds of graphs and is strict about each of their descriptors.  It
 * computes convolutions and attention on the host when the made-up stream reaches them.
 *
 *     dnn.c              the table of functions; asking
 *     dnn_descriptor.c   attributes, and what finalizing a descriptor finds wrong
 *     dnn_kernel.c       engines that may be chosen from, running a convolution
 *     dnn_attention.c    attention's graph, and running it
 *
 * One kind is the graph for which the library has compiled kernels: a convolution, perhaps the addition of a
 * tensor, and the addition of a bias.  All tensors have one 16-bit type, are dense with channels last, and
 * have multiples of 8 channels; values between the operations are float32.  The other kind is attention, with
 * any strides in multiples of 8.  Each of its plans has code of its own, which is loaded at the plan's first
 * run and unloaded with the plan.  Any other graph is refused, or has no kernels.  A finalized descriptor
 * holds copies of the descriptors that it was made from, so those may then be destroyed. fake_cuda says which
 * engines there are, and what is wrong with them. */
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
    bool attends; /* if it is attention, the graph has only these and y */
    fake_tensor q, k, v, scale;
    int64_t rows;
    bool compiled; /* there are kernels for it */
} fake_graph;

typedef struct fake_engine {
    fake_graph graph;
    int index, build;
    int code; /* the code of one plan; 0: the plan has none */
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

/* Finds the tensor's address, which the pack must have exactly once.  A device address must have the
 * alignment that the tensor's descriptor says. */
cudnnStatus_t fake_dnn_find(const fake_pack *pack, const fake_tensor *t, const void **memory);
float fake_dnn_read(const void *memory, cudnnDataType_t type, size_t i);
void fake_dnn_write(void *memory, cudnnDataType_t type, size_t i, float value);

/* Does the library have kernels for that attention? */
bool fake_dnn_has_attention(const fake_graph *graph);

/* Makes the code of an attention plan.  A run asserts that this code still exists. */
int fake_dnn_new_code(void);
void fake_dnn_unload(int code);

#endif
