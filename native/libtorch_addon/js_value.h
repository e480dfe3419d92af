// Values from and to JavaScript, in the form that lib/script-module/values.ts writes and reads:
//
//   undefined, null, boolean, number, bigint (an int), string, array    as they are
//   { kind: "float", value }                                            a float for certain
//   { kind: "dict", keys: [...], values: [...] }
//   { kind: "tensor", data, shape, dtype }
//   { kind: "handle", handle }                                          a tensor in native memory
#pragma once

#include <napi.h>

#include "../core/value.h"

namespace lenet5::addon {

// Copies what JavaScript holds; the arrays may change afterwards.
Value from_js(const Napi::Value& value);

// Bytes of the tensors in a value.
int64_t bytes_of(const Value& value);

struct ToJs {
  // Called as wrap(handle, shape, dtype, device) for every tensor that stays in native memory.
  Napi::Function wrap;
  // Every int as a bigint, so that 3 and 3.0 can be told apart; otherwise only those that a number cannot hold.
  bool big_integers = false;
};

// A result; tensors whose `handle` is set stay where they are, the others become { data, shape, dtype }.
Napi::Value to_js(Napi::Env env, const Value& value, const ToJs& options);

// { data, shape, dtype } of a contiguous CPU tensor. The array lies on the tensor's own memory where the runtime allows
// it, so the caller hands over a tensor that nothing else writes to.
Napi::Object tensor_to_js(Napi::Env env, const at::Tensor& tensor);

Napi::Array shape_to_js(Napi::Env env, at::IntArrayRef shape);

}  // namespace lenet5::addon
