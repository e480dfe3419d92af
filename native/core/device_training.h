// Training on a GPU, by libtorch's operators.
//
// The problem: LeNet-5 is small. A step is some eighty operators that a GPU is done with in less time than it takes to
// launch them one by one, and whoever asks for a step's loss waits until the GPU has come that far.
//
// The resolution: what a step needs is on the device already, and nobody asks. The training set lies there as bytes; of
// an epoch its order is copied, and a step is told where in it to begin. Its learning rate and Adam's corrections are
// tensors that are filled before it. So every step of one size is the same work, which is recorded once as a graph
// (device_graph.h), from the gathering of the batch to Adam's update, and launched as one. Losses and right answers are
// summed on the device, and read when somebody is to be told (Training::settle). An epoch's last, smaller batch and the
// first steps, in which libtorch's libraries choose their ways, are launched operator by operator.
//
// Distorted images are made on the processor and copied to the device batch by batch, from pinned memory; what follows
// is the same.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <vector>

#include "../lenet5/engine.h"

namespace lenet5 {

// Whether a device's training is this one: CUDA's; and, with LENET5_DEVICE_TRAINING=cpu, the CPU's too, without graphs:
// so that what is not CUDA about it can be tested anywhere.
bool trains_on_device(const c10::Device& device);

// As Engine::training.
std::unique_ptr<Training> make_device_training(int64_t num_classes, const c10::Device& device,
                                               const Normalization& normalization, const OptimizerState& start,
                                               const std::vector<float>& class_weights);

}  // namespace lenet5
