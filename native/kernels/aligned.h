// Zeroed memory on a cache-line boundary.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

namespace lenet5::kernels {

struct AlignedDelete {
  void operator()(void* p) const { ::operator delete(p, std::align_val_t{64}); }
};

template <typename T>
using AlignedArray = std::unique_ptr<T[], AlignedDelete>;

// For types that need neither constructor nor destructor.
template <typename T>
AlignedArray<T> aligned_array(size_t count) {
  static_assert(std::is_trivially_destructible<T>::value && std::is_trivially_copyable<T>::value, "plain data only");
  void* p = ::operator new(count * sizeof(T), std::align_val_t{64});
  std::memset(p, 0, count * sizeof(T));
  return AlignedArray<T>(static_cast<T*>(p));
}

}  // namespace lenet5::kernels
