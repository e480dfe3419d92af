#include "error.h"

#include <c10/util/Exception.h>

#include <new>

namespace lenet5 {

Error current_error(const char* fallback) {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const c10::Error& error) {
    return Error(fallback, error.what_without_backtrace(), error.what());
  } catch (const std::bad_alloc&) {
    return Error("OUT_OF_MEMORY", "Expected enough memory for the call but the allocation failed");
  } catch (const std::exception& error) {
    return Error(fallback, error.what());
  } catch (...) {
    return Error(fallback, "An exception of unknown type left libtorch");
  }
}

}  // namespace lenet5
