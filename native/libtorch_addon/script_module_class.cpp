#include "script_module_class.h"

#include <string>
#include <utility>

#include "../addon/checked.h"
#include "script_module_tasks.h"

namespace lenet5::addon {

ScriptModuleClass::ScriptModuleClass(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ScriptModuleClass>(info) {
  with_js_errors(info.Env(), [&] {
    module_ = from_external<ModulePointer>(info[0], "new ScriptModule");
    memory_ = std::make_unique<ExternalMemory>(info.Env(), module_->bytes());
  });
}

std::shared_ptr<ScriptModule> ScriptModuleClass::module() const {
  if (!module_) throw Error("DISPOSED", "Expected a module that is still there but received a disposed one");
  return module_;
}

namespace {

// { size, parts: [offset, bytes, offset, bytes, …], path, records: [offset, size, crc32, …], withoutRecords }
Archive archive_of(const Napi::Object& from) {
  Archive archive;
  archive.size = static_cast<uint64_t>(integer_of(from.Get("size"), "size", 0, kMaxSafeInteger));
  archive.path = text_of(from.Get("path"), "path");
  archive.without_records = boolean_of(from.Get("withoutRecords"), "withoutRecords");
  const Napi::Array parts = array_of(from.Get("parts"), "parts"), records = array_of(from.Get("records"), "records");
  uint64_t end = 0;
  for (uint32_t i = 0; i + 1 < parts.Length(); i += 2) {
    const Napi::HandleScope scope(from.Env());
    const auto offset = static_cast<uint64_t>(integer_of(parts.Get(i), "parts", 0, kMaxSafeInteger));
    const Napi::Value bytes = parts.Get(i + 1);
    const View<uint8_t> view = view_of<uint8_t>(bytes, "parts");
    if (offset < end || offset + view.length > archive.size) {
      throw Error("INVALID_ARGUMENT", "Expected parts in order, within the archive, for parts but received others");
    }
    end = offset + view.length;
    archive.parts.push_back({offset, std::string(reinterpret_cast<const char*>(view.data), view.length)});
  }
  uint64_t before = 0;
  for (uint32_t i = 0; i + 2 < records.Length(); i += 3) {
    const Napi::HandleScope scope(from.Env());
    ArchiveRecord record{};
    record.offset = static_cast<uint64_t>(integer_of(records.Get(i), "records", 0, kMaxSafeInteger));
    record.size = static_cast<uint64_t>(integer_of(records.Get(i + 1), "records", 0, kMaxSafeInteger));
    record.crc32 = static_cast<uint32_t>(integer_of(records.Get(i + 2), "records", 0, 0xffffffffLL));
    if (record.offset < before) {
      throw Error("INVALID_ARGUMENT", "Expected records in order for records but received others");
    }
    before = record.offset;
    archive.records.push_back(record);
  }
  return archive;
}

}  // namespace

// load(archive, device, where)
Napi::Value ScriptModuleClass::JS_load(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    return AsyncTask::start(new LoadTask(info.Env(), archive_of(object_of(info[0], "archive")),
                                         text_of(info[1], "device"), text_of(info[2], "where")));
  });
}

// run(method, call, keep, bigIntegers, wrap)
Napi::Value ScriptModuleClass::JS_run(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    std::string method = text_of(info[0], "method");
    const RunOptions run{boolean_of(info[2], "keep"), boolean_of(info[3], "bigIntegers")};
    const Napi::Function wrap = function_of(info[4], "wrap");
    ModulePointer held = module();
    PreparedPointer call = take_call(info[1]);
    // What this thread computed itself is over: another one's turn.
    dismiss_used_team();
    const bool keep = run.keep;
    const auto work = [method = std::move(method), keep](ScriptModule& called, Arguments arguments) {
      const uint64_t kind = kind_of_call(method, arguments);
      return called.run_and_learn(method, std::move(arguments), keep, kind, false);
    };
    return AsyncTask::start(
        new RunTask<ScriptModule>(info.Env(), std::move(held), std::move(call), work, run.big_integers, wrap));
  });
}

// runSync(method, positional, names, values, keep, bigIntegers, wrap): here and now.
Napi::Value ScriptModuleClass::JS_runSync(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const std::string method = text_of(info[0], "method");
    const RunOptions run{boolean_of(info[4], "keep"), boolean_of(info[5], "bigIntegers")};
    const Napi::Function wrap = function_of(info[6], "wrap");
    // Reading the arguments may run JavaScript, which may dispose of this: the module is taken afterwards.
    Arguments arguments = arguments_of(info[1], info[2], info[3]);
    dismiss_compute_teams();
    const lenet5::Value result = module()->run(method, std::move(arguments), run.keep);
    return to_js(info.Env(), result, {wrap, run.big_integers});
  });
}

// runIfShort(method, positional, names, values, keep, bigIntegers, wrap): as runSync where the call is expected to be
// short; the prepared call otherwise.
Napi::Value ScriptModuleClass::JS_runIfShort(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const std::string method = text_of(info[0], "method");
    const RunOptions run{boolean_of(info[4], "keep"), boolean_of(info[5], "bigIntegers")};
    const Napi::Function wrap = function_of(info[6], "wrap");
    Arguments arguments = arguments_of(info[1], info[2], info[3]);
    const ModulePointer held = module();
    const uint64_t kind = kind_of_call(method, arguments);
    if (!held->short_call(kind)) return keep_call(info.Env(), std::move(arguments));
    dismiss_compute_teams();
    const lenet5::Value result = held->run_and_learn(method, std::move(arguments), run.keep, kind, true);
    return to_js(info.Env(), result, {wrap, run.big_integers});
  });
}

// runPreparedIfShort(method, call, keep, bigIntegers, wrap): the same for a prepared call, which is given back where it
// is not short.
Napi::Value ScriptModuleClass::JS_runPreparedIfShort(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const std::string method = text_of(info[0], "method");
    const RunOptions run{boolean_of(info[2], "keep"), boolean_of(info[3], "bigIntegers")};
    const Napi::Function wrap = function_of(info[4], "wrap");
    const ModulePointer held = module();
    PreparedPointer& call = kept_call(info[1]);
    const uint64_t kind = kind_of_call(method, call->arguments);
    if (!held->short_call(kind)) return info[1];
    const PreparedPointer taken = std::move(call);
    dismiss_compute_teams();
    const lenet5::Value result = held->run_and_learn(method, std::move(taken->arguments), run.keep, kind, true);
    return to_js(info.Env(), result, {wrap, run.big_integers});
  });
}

// to(device)
Napi::Value ScriptModuleClass::JS_to(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    return AsyncTask::start(new MoveTask(info.Env(), module(), text_of(info[0], "device")));
  });
}

// tensors("parameters" | "buffers", keep, wrap)
Napi::Value ScriptModuleClass::JS_tensors(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const bool buffers = text_of(info[0], "which") == "buffers";
    return AsyncTask::start(
        new TensorsTask(info.Env(), module(), buffers, boolean_of(info[1], "keep"), function_of(info[2], "wrap")));
  });
}

Napi::Value ScriptModuleClass::JS_inspect(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value { return inspection_to_js(info.Env(), module()->inspect()); });
}

// Name → contents.
Napi::Value ScriptModuleClass::JS_extraFiles(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    Napi::Array files = Napi::Array::New(info.Env());
    uint32_t count = 0;
    const ModulePointer held = module();
    for (const auto& [name, contents] : held->extra_files()) {
      Napi::Array file = Napi::Array::New(info.Env(), 2);
      file.Set(0u, name);
      file.Set(1u, Napi::Buffer<char>::Copy(info.Env(), contents.data(), contents.size()));
      files.Set(count++, file);
    }
    return files;
  });
}

void ScriptModuleClass::JS_dispose(const Napi::CallbackInfo&) {
  module_.reset();
  memory_.reset();
}

}  // namespace lenet5::addon
