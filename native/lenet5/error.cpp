#include "error.h"

#include <atomic>
#include <new>

namespace lenet5 {

namespace {

std::atomic<ErrorTranslator> library_translator{nullptr};

}  // namespace

void set_error_translator(ErrorTranslator translator) { library_translator.store(translator); }

Error current_error(const char* fallback) {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error("OUT_OF_MEMORY", "Expected enough memory for the call but the allocation failed");
  } catch (const std::exception& error) {
    if (const ErrorTranslator translate = library_translator.load()) {
      if (auto translated = translate(error, fallback)) return *translated;
    }
    return Error(fallback, error.what());
  } catch (...) {
    return Error(fallback, "An exception of unknown type left native code");
  }
}

}  // namespace lenet5
