// Compiled with this instruction set's flags (see kernels.cmake) and run only where the machine has it.
#if defined(__x86_64__)
#define LENET5_INSTRUCTION_SET_NAMESPACE avx2
#include "implementation.h"

namespace lenet5::kernels {

const KernelTable& avx2_table() { return avx2::kTable; }

}  // namespace lenet5::kernels
#endif
