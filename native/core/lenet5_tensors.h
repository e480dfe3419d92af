// LeNet-5 in libtorch's tensors, for whoever trains or predicts with them; and the ways between this machine's memory
// and a device's.
#pragma once

#include <torch/script.h>

#include <vector>

#include "../lenet5/engine.h"

namespace lenet5 {

using Parameters = std::vector<torch::Tensor>;

torch::Tensor to_flat(const std::vector<float>& values, const torch::Device& device);
std::vector<float> to_vector(const torch::Tensor& tensor);

// Views into one flat buffer, in state-dict order.
Parameters parameter_views(const torch::Tensor& flat, int64_t num_classes);
// Leaf tensors over one flat buffer with their gradients over another, so that autograd accumulates in place and Adam
// is a handful of operations on two vectors.
Parameters gradient_leaves(const torch::Tensor& flat, const torch::Tensor& gradient, int64_t num_classes);

// Images [N, 1, 28, 28] or [N, 1, 32, 32], float32 in 0..1, to log-probabilities [N, num_classes].
torch::Tensor forward(const Parameters& parameters, const Normalization& normalization, const torch::Tensor& images);

// A batch in this machine's memory: [count, 1, size, size] of uint8, and [count] of int64. `device` is where it goes
// next: for CUDA it lies in memory that the device reads by itself.
torch::Tensor gathered_images(const Batch& batch, const torch::Device& device);
torch::Tensor gathered_labels(const int32_t* labels, const int64_t* indices, int64_t count,
                              const torch::Device& device);

// The problem: a copy between pageable memory and a GPU goes through a buffer of the driver's, piece by piece, and the
// calling thread waits for it. The resolution: pinned memory, which libtorch keeps for the next call; it is not handed
// out again before the copy that reads it is done, so nobody has to wait for that.

// Tensor options of memory from which `device` is filled.
torch::TensorOptions staging_for(const torch::Device& device);
// A tensor in this machine's memory, copied to the device. The tensor may change or go once this returns.
torch::Tensor on_device(const torch::Tensor& host, const torch::Device& device);
// A device's tensor in this machine's memory, contiguous; what comes before it on the calling thread's stream is done.
torch::Tensor on_host(const torch::Tensor& tensor);

}  // namespace lenet5
