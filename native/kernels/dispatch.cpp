// Which instruction set runs: what the machine has, capped by LENET5_INSTRUCTION_SET.
#include <cstdlib>
#include <cstring>

#include "kernel_table.h"

namespace lenet5::kernels {
namespace {

constexpr InstructionSet kAll[] = {InstructionSet::baseline, InstructionSet::avx2, InstructionSet::avx512};

// The builtin asks the operating system too (XGETBV): an instruction set whose registers it does not save counts as
// absent.
bool machine_has(InstructionSet set) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (set == InstructionSet::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (set == InstructionSet::avx512) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           machine_has(InstructionSet::avx2);
  }
#endif
  return set == InstructionSet::baseline;
}

// A value that names no instruction set caps nothing.
bool allowed(InstructionSet set) {
  const char* cap = std::getenv("LENET5_INSTRUCTION_SET");
  if (!cap) return true;
  for (const InstructionSet named : kAll) {
    if (std::strcmp(cap, name(named)) == 0) return set <= named;
  }
  return true;
}

}  // namespace

const char* name(InstructionSet set) {
  switch (set) {
    case InstructionSet::avx512:
      return "avx512";
    case InstructionSet::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

std::vector<InstructionSet> supported_instruction_sets() {
  std::vector<InstructionSet> sets;
  for (const InstructionSet set : kAll) {
    if (machine_has(set) && allowed(set)) sets.push_back(set);
  }
  return sets;
}

InstructionSet best_instruction_set() { return supported_instruction_sets().back(); }

const KernelTable& table(InstructionSet set) {
#if defined(__x86_64__)
  // Asked again here: an instruction set chosen by hand must not end the process.
  if (set == InstructionSet::avx512 && machine_has(set)) return avx512_table();
  if (set != InstructionSet::baseline && machine_has(InstructionSet::avx2)) return avx2_table();
#else
  (void)set;
#endif
  return baseline_table();
}

}  // namespace lenet5::kernels
