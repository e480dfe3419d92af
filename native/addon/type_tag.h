// Tags that tell an addon's objects from everybody else's, those of the other addon too: both are compiled from these
// sources, but perhaps by another compiler, and neither may look into what the other made.
#pragma once

#include <napi.h>

#include <cstdint>

namespace lenet5::addon {

// A random number of the addon's own, in its registration.cpp.
extern const uint64_t kAddonTag;

inline napi_type_tag own_tag(napi_type_tag tag) { return {tag.lower ^ kAddonTag, tag.upper}; }

}  // namespace lenet5::addon
