// Tags that tell an addon's objects from everybody else's: those of the other addon, which is compiled from these
// sources too, but perhaps by another compiler, and those of another copy or version of the package in the same
// process. None may look into what another made.
#pragma once

#include <napi.h>

#include <cstdint>

namespace lenet5::addon {

// A random number of the addon's own, in its registration.cpp. Where it lies tells one loaded library from another.
extern const uint64_t kAddonTag;

inline napi_type_tag own_tag(napi_type_tag tag) {
  return {tag.lower ^ kAddonTag, tag.upper ^ static_cast<uint64_t>(reinterpret_cast<uintptr_t>(&kAddonTag))};
}

}  // namespace lenet5::addon
