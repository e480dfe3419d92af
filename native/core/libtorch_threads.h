// libtorch's number of threads.
#pragma once

namespace lenet5 {

// Tells libtorch to compute on this many threads, or on as many as the system lets start now. libtorch cannot do with
// fewer than it was told: Debian's 1.13 waits for ever for a thread of its pool that could not start, and libgomp ends
// the process.
void set_libtorch_threads(int threads);

}  // namespace lenet5
