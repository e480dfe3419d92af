// The libtorch engine: what the fused kernels are held to, and what computes on devices other than the CPU.
#pragma once

namespace lenet5 {

// Makes it known to engines.h, and libtorch's exceptions to error.h.
void plug_in_libtorch_engine();

}  // namespace lenet5
