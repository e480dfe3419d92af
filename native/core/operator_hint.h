// Where an operator comes from that this libtorch does not know.
#pragma once

#include <string>

namespace lenet5 {

// libtorch's first line about an unknown operator ("Unknown builtin op: torchvision::nms.") or class, in words that
// name it, the package that has it and the option that loads it; an empty string for any other line.
std::string unknown_operator(const std::string& line);

}  // namespace lenet5
