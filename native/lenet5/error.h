// The one exception type of everything native: a stable code of the package's table (lib/errors.ts) and a sentence for
// people.
#pragma once

#include <optional>
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

// To be called inside a catch block: turns whatever is being handled into an Error; an exception of another library
// gets `fallback` as its code.
Error current_error(const char* fallback = "NATIVE_FAILURE");

// How a library's own exceptions become an Error; nothing for those that are not its own. Libtorch's put a backtrace
// into their message, which belongs into `detail`. To be set before the first error.
using ErrorTranslator = std::optional<Error> (*)(const std::exception& error, const char* fallback);
void set_error_translator(ErrorTranslator translator);

}  // namespace lenet5
