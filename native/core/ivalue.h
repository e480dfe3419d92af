// Values to and from TorchScript's own, IValue. The method's signature decides what a value becomes.
#pragma once

#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>

#include <functional>
#include <string>

#include "value.h"

namespace lenet5 {

// A value as `type` wants it. `where` names the argument, and is asked for an error's words alone; tensors are moved to
// `device`, handles must be there already. Throws SCRIPT_ARGUMENTS, and INVALID_ARGUMENT for a handle on another
// device.
c10::IValue to_ivalue(const Value& value, const c10::TypePtr& type, const std::function<std::string()>& where,
                      c10::Device device);

// A result as a value. Tensors come detached; with `keep` they stay where and as they are, otherwise they come to the
// CPU, contiguous. Throws SCRIPT_UNSUPPORTED for what JavaScript has nothing for.
Value from_ivalue(c10::IValue result, bool keep);

// Gives every tensor of `value` memory of its own, so that a write through JavaScript's array reaches nothing else.
// Copies only what is shared: with the module's state, with another result, or as part of a larger storage.
void make_unshared(Value& value);

}  // namespace lenet5
