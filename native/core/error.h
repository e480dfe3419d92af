// The core's one exception type: a stable code of the package's table (lib/errors.ts) and a sentence for people.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace lenet5 {

class Error : public std::runtime_error {
 public:
  // `code`: a name of the table in lib/errors.ts without its prefix, for example "INVALID_SHAPE".
  // `detail`: what helps a developer of the package and would only disturb others, a C++ backtrace for example.
  Error(std::string code, const std::string& message, std::string detail = "")
      : std::runtime_error(message), code_(std::move(code)), detail_(std::move(detail)) {}

  const std::string& code() const { return code_; }
  const std::string& detail() const { return detail_; }

 private:
  std::string code_;
  std::string detail_;
};

// To be called inside a catch block: turns whatever is being handled into an Error. libtorch's own exceptions lose
// their backtrace from the message (it goes to `detail`) and get `fallback` as their code.
Error current_error(const char* fallback = "NATIVE_FAILURE");

}  // namespace lenet5
