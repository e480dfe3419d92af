// The process's number of threads, where both addons find it.
//
// Problem: whoever sets it may be another worker_thread, or another copy of the package, than the one that opened
// libtorch, and libtorch is to follow all the same. Resolution: the addon without libtorch, which all of them open,
// keeps the number and lends it out; the other one looks at it before it computes. What crosses is the address of one
// integer, which both compilers see alike, under a tag that both know.
#pragma once

#include <napi.h>

#include <atomic>

namespace lenet5::addon {

using ThreadsCell = std::atomic<int>;

constexpr napi_type_tag kThreadsCellTag{0x2f6b8d10c4e79a53, 0x81d3f5a7092c4be6};

}  // namespace lenet5::addon
