#include "parameters.h"

#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "random.h"

namespace lenet5 {

std::vector<ParameterInfo> parameter_table(int64_t num_classes) {
  std::vector<ParameterInfo> table;
  int64_t offset = 0;
  auto add = [&](const char* name, std::vector<int64_t> shape) {
    int64_t length = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
    table.push_back({name, std::move(shape), offset, length});
    offset += length;
  };
  add("c1.weight", {6, 1, 5, 5});
  add("c1.bias", {6});
  add("c3.weight", {16, 6, 5, 5});
  add("c3.bias", {16});
  add("c5.weight", {120, 16, 5, 5});
  add("c5.bias", {120});
  add("f6.weight", {84, 120});
  add("f6.bias", {84});
  add("output.weight", {num_classes, 84});
  add("output.bias", {num_classes});
  return table;
}

int64_t parameter_length(int64_t num_classes) {
  const auto last = parameter_table(num_classes).back();
  return last.offset + last.length;
}

std::vector<float> initial_parameters(int64_t num_classes, uint64_t seed) {
  Generator generator(seed);
  std::vector<float> flat;
  flat.reserve(static_cast<size_t>(parameter_length(num_classes)));
  float bound = 0;
  for (const ParameterInfo& info : parameter_table(num_classes)) {
    // A bias follows its weight and has the same bound.
    if (info.shape.size() > 1) {
      const double fan_in = static_cast<double>(info.length) / static_cast<double>(info.shape[0]);
      bound = static_cast<float>(1.0 / std::sqrt(fan_in));
    }
    for (int64_t i = 0; i < info.length; i++) flat.push_back(generator.uniform(-bound, bound));
  }
  return flat;
}

}  // namespace lenet5
