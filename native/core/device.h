// Devices by their PyTorch names: "cpu", "cuda", "cuda:1", "mps"; "auto" is an accelerator where there is one.
#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

namespace lenet5 {

// What this libtorch can run on here, "cpu" first.
std::vector<std::string> available_devices();

// Why this libtorch does not compute on CUDA here, in its own words; empty where it does. It initialises CUDA.
std::string cuda_problem();

// Throws INVALID_OPTION for what is no device's name and DEVICE_UNAVAILABLE for one that is not here. The device that
// is returned has an index wherever its kind has one, so that it compares equal to a tensor's.
c10::Device resolve_device(const std::string& name);

}  // namespace lenet5
