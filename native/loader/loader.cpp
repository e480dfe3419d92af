// The problem: an addon that is linked to libtorch is bound to the place where that libtorch lay when it was built
// (rpath), or to whatever the dynamic linker finds by name, which on a machine with two libtorches may be a mixture of
// both. The first breaks prebuilt addons, the second aborts the process.
//
// The resolution: Node opens this small addon, which needs no libtorch. JavaScript chooses a libtorch and calls
// `load(core, required, optional, extension)`. The loader opens libtorch's libraries by absolute path; the core
// library, which has no rpath, then finds them in the process by their names. Before and after, the loader looks at
// what is mapped, and refuses a second libtorch with an error instead of a crash.
//
// libtorch and the core stay for the process's life: closing libtorch crashes (pytorch#46171). Every worker thread that
// loads the addon gets exports of its own from the same core.
//
// The core may have an extension, linked to what only some libtorches have (lenet5_cuda, for CUDA): it is opened behind
// the core where the optional libraries are all there, and the core takes its table.
//
// `open(libraries, contents)` adds a library of operators to that libtorch (lib/libtorch/operators.ts), with the same
// look at what is mapped.
#include <node_api.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "openmp_waiting.h"
#include "platform.h"

namespace {

using lenet5::loader::folder_of;
using lenet5::loader::mapped_libraries;
using lenet5::loader::name_of;
using lenet5::loader::open_forever;
using lenet5::loader::OpenMpWaiting;
using lenet5::loader::resolved;
using lenet5::loader::symbol;

using RegisterModule = napi_value (*)(napi_env, napi_value);

/// What one environment (the main thread or a worker) has loaded.
struct Loaded {
  napi_ref exports = nullptr;
  std::string core;
  std::string folder;  ///< where its libtorch lies
};

napi_value raise(napi_env env, const char* code, const std::string& message) {
  napi_throw_error(env, code, message.c_str());
  return nullptr;
}

bool read_string(napi_env env, napi_value value, std::string& result) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return false;
  result.resize(length);
  return napi_get_value_string_utf8(env, value, result.data(), length + 1, &length) == napi_ok;
}

bool read_strings(napi_env env, napi_value value, std::vector<std::string>& result) {
  bool is_array = false;
  if (napi_is_array(env, value, &is_array) != napi_ok || !is_array) return false;
  uint32_t length = 0;
  if (napi_get_array_length(env, value, &length) != napi_ok) return false;
  for (uint32_t index = 0; index < length; ++index) {
    napi_value element = nullptr;
    std::string text;
    if (napi_get_element(env, value, index, &element) != napi_ok || !read_string(env, element, text)) return false;
    result.push_back(std::move(text));
  }
  return true;
}

/// "libc10.so.1.13" → "c10", "torch_cpu.dll" → "torch_cpu"; other libraries → "".
std::string libtorch_part(const std::string& file_name) {
  std::string stem = file_name.substr(0, file_name.find('.'));
  if (stem.rfind("lib", 0) == 0) stem.erase(0, 3);
  return stem == "c10" || stem == "torch_cpu" ? stem : std::string();
}

/// A sentence about a libtorch library that is mapped from another folder than `folder`, or an empty string.
std::string foreign_libtorch(const std::string& folder) {
  for (const auto& library : mapped_libraries()) {
    if (!libtorch_part(library.name).empty() && library.folder != folder) {
      return "Expected libtorch from " + folder + " only, but this process has " + library.folder + "/" + library.name +
             " loaded: two libtorches in one process crash it. Point both at the same libtorch (LIBTORCH), or load "
             "them in different processes";
    }
  }
  return {};
}

/// A sentence about a part of libtorch that is not mapped exactly once, or an empty string.
std::string not_exactly_once(const std::string& folder) {
  for (const char* part : {"c10", "torch_cpu"}) {
    int count = 0;
    for (const auto& library : mapped_libraries()) count += libtorch_part(library.name) == part ? 1 : 0;
    if (count != 1) {
      return "Expected one " + std::string(part) + " from " + folder + " in this process but found " +
             std::to_string(count);
    }
  }
  return {};
}

/// Opens the extension and gives its table to the core; a sentence about what kept it from that, or an empty string.
std::string extend(void* core, const std::string& path) {
  std::string error;
  void* const library = open_forever(path, error);
  if (library == nullptr) return path + ": " + error;
  const auto give = reinterpret_cast<const void* (*)()>(symbol(library, "lenet5_device_graphs"));
  const auto take = reinterpret_cast<bool (*)(const void*)>(symbol(core, "lenet5_take_device_graphs"));
  if (give == nullptr || take == nullptr || !take(give()))
    return path + ": it was built for another core, libtorch or CUDA";
  return {};
}

/// Two workers that load at once must not judge each other's half-loaded libtorch.
std::mutex& loading() {
  static std::mutex mutex;
  return mutex;
}

/// load(corePath, requiredLibraries, optionalLibraries?, extension?) → { exports, skipped }: see the head of this file.
napi_value load(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value arguments[4];
  void* data = nullptr;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, &data) != napi_ok) return nullptr;
  auto* loaded = static_cast<Loaded*>(data);

  std::string core;
  std::vector<std::string> required;
  std::vector<std::string> optional;
  std::string extension;
  napi_valuetype third = napi_undefined, fourth = napi_undefined;
  if (count > 2) napi_typeof(env, arguments[2], &third);
  if (count > 3) napi_typeof(env, arguments[3], &fourth);
  if (count < 2 || !read_string(env, arguments[0], core) || !read_strings(env, arguments[1], required) ||
      required.empty() || (third != napi_undefined && !read_strings(env, arguments[2], optional)) ||
      (fourth != napi_undefined && !read_string(env, arguments[3], extension))) {
    return raise(
        env, "LENET5_INVALID_ARGUMENT",
        "Expected load(corePath, requiredLibraries, optionalLibraries?, extension?) with strings and arrays of "
        "strings");
  }
  core = resolved(core);

  const std::string folder = folder_of(resolved(required.front()));
  for (const std::string& path : required) {
    if (const std::string real = resolved(path); folder_of(real) != folder) {
      return raise(env, "LENET5_LIBTORCH_MIXED",
                   "Expected libtorch from " + folder + " only, but " + path + " leads to " + real);
    }
  }
  if (loaded->exports != nullptr) {
    if (loaded->core != core) {
      return raise(
          env, "LENET5_LIBTORCH_MIXED",
          "Expected one native core in a process but " + loaded->core + " is loaded and " + core + " was asked for");
    }
    if (loaded->folder != folder) {
      return raise(env, "LENET5_LIBTORCH_MIXED",
                   "Expected one libtorch in a process but that in " + loaded->folder + " is loaded and the one in " +
                       folder + " was asked for");
    }
    napi_value result = nullptr;
    napi_get_reference_value(env, loaded->exports, &result);
    return result;
  }

  std::vector<std::string> skipped;
  RegisterModule register_module = nullptr;
  {
    const std::lock_guard<std::mutex> lock(loading());
    if (const std::string problem = foreign_libtorch(folder); !problem.empty()) {
      return raise(env, "LENET5_LIBTORCH_MIXED", problem);
    }
    const OpenMpWaiting waiting(folder);
    std::string error;
    for (const std::string& path : required) {
      if (open_forever(path, error) == nullptr) {
        return raise(env, "LENET5_LIBTORCH_INCOMPATIBLE", "Cannot load " + path + ": " + error);
      }
    }
    for (const std::string& path : optional) {
      if (open_forever(path, error) == nullptr) skipped.push_back(path + ": " + error);
    }
    // Checked before the core is opened as well: its static initialisers already run libtorch's code.
    if (const std::string problem = foreign_libtorch(folder); !problem.empty()) {
      return raise(env, "LENET5_LIBTORCH_MIXED", problem);
    }
    void* library = open_forever(core, error);
    if (library == nullptr) return raise(env, "LENET5_LIBTORCH_INCOMPATIBLE", "Cannot load " + core + ": " + error);
    std::string problem = foreign_libtorch(folder);
    if (problem.empty()) problem = not_exactly_once(folder);
    if (!problem.empty()) return raise(env, "LENET5_LIBTORCH_MIXED", problem);
    if (!extension.empty() && skipped.empty()) {
      if (std::string reason = extend(library, extension); !reason.empty()) skipped.push_back(std::move(reason));
    }
    register_module = reinterpret_cast<RegisterModule>(symbol(library, "napi_register_module_v1"));
  }
  if (register_module == nullptr) {
    return raise(env, "LENET5_ADDON_NOT_BUILT", "Expected " + core + " to export napi_register_module_v1");
  }

  napi_value exports = nullptr;
  if (napi_create_object(env, &exports) != napi_ok) return nullptr;
  napi_value returned = register_module(env, exports);
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) return nullptr;
  if (returned != nullptr) exports = returned;

  napi_value result = nullptr;
  napi_value skipped_array = nullptr;
  if (napi_create_object(env, &result) != napi_ok ||
      napi_create_array_with_length(env, skipped.size(), &skipped_array) != napi_ok) {
    return nullptr;
  }
  for (size_t index = 0; index < skipped.size(); ++index) {
    napi_value text = nullptr;
    napi_create_string_utf8(env, skipped[index].data(), skipped[index].size(), &text);
    napi_set_element(env, skipped_array, static_cast<uint32_t>(index), text);
  }
  napi_set_named_property(env, result, "exports", exports);
  napi_set_named_property(env, result, "skipped", skipped_array);
  if (napi_create_reference(env, result, 1, &loaded->exports) != napi_ok) return nullptr;
  loaded->core = core;
  loaded->folder = folder;
  return result;
}

/// open(libraries, contents) → whether they were opened now: opens further libraries in order, for the process's life,
/// once a process for the same `contents` (a digest of the last one). Registering an operator a second time would end
/// the process.
napi_value open(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  void* data = nullptr;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, &data) != napi_ok) return nullptr;
  const auto* loaded = static_cast<Loaded*>(data);
  std::vector<std::string> libraries;
  std::string contents;
  if (count < 2 || !read_strings(env, arguments[0], libraries) || !read_string(env, arguments[1], contents)) {
    return raise(env, "LENET5_INVALID_ARGUMENT", "Expected open(libraries, contents) with strings and a string");
  }
  if (loaded->exports == nullptr) {
    return raise(env, "LENET5_INVALID_ARGUMENT", "Expected load(…) before open(…)");
  }
  static std::vector<std::string> known;
  const std::lock_guard<std::mutex> lock(loading());
  const bool opened = std::find(known.begin(), known.end(), contents) == known.end();
  if (opened) {
    std::string error;
    for (const std::string& path : libraries) {
      if (open_forever(path, error) == nullptr) {
        return raise(env, "LENET5_OPERATORS_UNUSABLE", "Cannot load " + path + ": " + error);
      }
    }
    known.push_back(contents);
  }
  // The second time too: what was brought along the first time is still there.
  std::string problem = foreign_libtorch(loaded->folder);
  if (problem.empty()) problem = not_exactly_once(loaded->folder);
  if (!problem.empty()) return raise(env, "LENET5_LIBTORCH_MIXED", problem);
  napi_value result = nullptr;
  napi_get_boolean(env, opened, &result);
  return result;
}

}  // namespace

// The instance data of this environment belongs to the core, which node-addon-api keeps there: the loader's own state
// travels as the function's data instead.
NAPI_MODULE_INIT() {
  lenet5::loader::pin_self();
  auto loaded = std::make_unique<Loaded>();
  napi_value function = nullptr;
  napi_value open_function = nullptr;
  if (napi_create_function(env, "load", NAPI_AUTO_LENGTH, load, loaded.get(), &function) != napi_ok ||
      napi_create_function(env, "open", NAPI_AUTO_LENGTH, open, loaded.get(), &open_function) != napi_ok ||
      napi_add_env_cleanup_hook(env, [](void* data) { delete static_cast<Loaded*>(data); }, loaded.get()) != napi_ok) {
    return nullptr;
  }
  loaded.release();  // the clean-up hook owns it now
  napi_set_named_property(env, exports, "load", function);
  napi_set_named_property(env, exports, "open", open_function);
  return exports;
}
