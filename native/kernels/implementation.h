// Everything one instruction set offers, as a table. Included by exactly one translation unit for each.
#pragma once

#include "backward.h"
#include "convolution.h"
#include "dense.h"
#include "distort.h"
#include "prepare.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

constexpr KernelTable kTable = {prepare,   prepare_windows,   convolve,     dense,       answer, loss,   close,
                                transpose, convolve_backward, dense_update, bias_update, update, distort};

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
