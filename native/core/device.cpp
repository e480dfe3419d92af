#include "device.h"

#include <ATen/ATen.h>
#include <torch/cuda.h>

#include <algorithm>
#include <exception>

#include "../lenet5/error.h"

namespace lenet5 {

std::vector<std::string> available_devices() {
  std::vector<std::string> names{"cpu"};
  if (torch::cuda::is_available()) {
    const auto count = static_cast<int>(torch::cuda::device_count());
    for (int i = 0; i < count; ++i) names.push_back("cuda:" + std::to_string(i));
  }
  if (at::hasMPS()) names.push_back("mps:0");
  return names;
}

std::string cuda_problem() {
  if (torch::cuda::is_available()) return {};
  try {
    at::empty({1}, at::device(c10::kCUDA));
    return "no device was found";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return text.substr(0, text.find('\n'));
  } catch (const std::exception& error) {
    return error.what();
  }
}

c10::Device resolve_device(const std::string& name) {
  const std::vector<std::string> available = available_devices();
  if (name == "auto") return c10::Device(available.size() > 1 ? available[1] : available[0]);
  const std::string quoted = '"' + name + '"';
  c10::Device device(c10::kCPU);
  try {
    device = c10::Device(name);
  } catch (const c10::Error&) {
    throw Error("INVALID_OPTION",
                "Expected \"auto\", \"cpu\", \"cuda\", \"cuda:<n>\" or \"mps\" for device but received " + quoted);
  }
  if (device.is_cpu()) return c10::Device(c10::kCPU);
  if (!device.has_index()) device.set_index(0);
  if (std::find(available.begin(), available.end(), device.str()) == available.end()) {
    std::string list;
    for (const std::string& each : available) list += (list.empty() ? "" : ", ") + each;
    throw Error("DEVICE_UNAVAILABLE", "Expected a device that is here (" + list + ") but received " + quoted);
  }
  return device;
}

}  // namespace lenet5
