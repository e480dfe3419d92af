// A call of a ScriptModule or of a CompiledModule, off the event loop.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <utility>

#include "../addon/async_task.h"
#include "../core/compute_threads.h"
#include "../core/libtorch_threads.h"
#include "js_value.h"
#include "prepared_call.h"

namespace lenet5::addon {

// A thread of Node's pool that computes in libtorch for once, and leaves no team behind.
struct LentThread {
  LentThread() = default;
  ~LentThread() { dismiss_team(); }
  LentThread(const LentThread&) = delete;
  LentThread& operator=(const LentThread&) = delete;
};

struct RunOptions {
  bool keep;
  bool big_integers;
};

template <typename Module>
class RunTask : public AsyncTask {
 public:
  using Work = std::function<Value(Module&, Arguments)>;

  RunTask(Napi::Env env, std::shared_ptr<Module> module, PreparedPointer call, Work run, bool big_integers,
          const Napi::Function& wrap)
      : AsyncTask(env),
        module_(std::move(module)),
        call_(std::move(call)),
        run_(std::move(run)),
        big_integers_(big_integers),
        wrap_(Napi::Persistent(wrap)) {}

 private:
  void Run() override {
    const auto call = [this] { result_ = run_(*module_, std::move(call_->arguments)); };
    if (module_->worth_a_thread() && libtorch_threads() > 1) {
      on_compute_thread(call);
    } else {
      const LentThread lent;
      call();
    }
  }
  Napi::Value Result(Napi::Env env) override { return to_js(env, result_, {wrap_.Value(), big_integers_}); }

  std::shared_ptr<Module> module_;
  PreparedPointer call_;
  Work run_;
  bool big_integers_;
  Napi::FunctionReference wrap_;
  Value result_;
};

}  // namespace lenet5::addon
