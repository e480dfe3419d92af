// Native memory that a JavaScript object keeps alive, told to the garbage collector for as long as it lives.
#pragma once

#include <napi.h>

#include <cstdint>

namespace lenet5::addon {

// To be made and destroyed on the JavaScript thread.
class ExternalMemory {
 public:
  ExternalMemory(napi_env env, int64_t bytes) : env_(env), bytes_(bytes) { adjust(bytes_); }
  ~ExternalMemory() { adjust(-bytes_); }
  ExternalMemory(const ExternalMemory&) = delete;
  ExternalMemory& operator=(const ExternalMemory&) = delete;

 private:
  void adjust(int64_t change) {
    int64_t total = 0;
    if (change != 0) napi_adjust_external_memory(env_, change, &total);
  }

  napi_env env_;
  int64_t bytes_;
};

}  // namespace lenet5::addon
