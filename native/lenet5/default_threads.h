// How many threads to compute on unless the caller says.
#pragma once

namespace lenet5 {

// As libtorch decides it: OMP_NUM_THREADS (its first number) where it is set, else the physical cores that this process
// may run on; and no more than a container's share of processors. 1 at least.
int default_threads();

}  // namespace lenet5
