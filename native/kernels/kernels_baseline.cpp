// Compiled for the least the platform promises: SSE2 on x86-64, NEON on ARM64.

#define LENET5_INSTRUCTION_SET_NAMESPACE baseline
#include "implementation.h"

namespace lenet5::kernels {

const KernelTable& baseline_table() { return baseline::kTable; }

}  // namespace lenet5::kernels
