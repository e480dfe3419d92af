// The core's errors as JavaScript errors: `code` from the package's table, `detail` where there is one.
#pragma once

#include <napi.h>

#include "../lenet5/error.h"

namespace lenet5::addon {

inline Napi::Error to_js_error(Napi::Env env, const Error& error) {
  Napi::Error js = Napi::Error::New(env, error.what());
  js.Value().Set("code", Napi::String::New(env, "LENET5_" + error.code()));
  if (!error.detail().empty()) js.Value().Set("detail", Napi::String::New(env, error.detail()));
  return js;
}

// Runs a synchronous method's body; whatever it throws reaches JavaScript with a code.
template <typename Body>
auto with_js_errors(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw to_js_error(env, current_error());
  }
}

}  // namespace lenet5::addon
