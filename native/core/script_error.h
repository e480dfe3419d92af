// What TorchScript throws, as the package's errors.
#pragma once

#include <string>

#include "../lenet5/error.h"

namespace lenet5 {

// To be called inside a catch block around the running of a method. Exceptions that the model's code raised, and those
// of operators that it called, become SCRIPT_RAISED: the message is the model's own with the line it came from; the
// whole TorchScript traceback goes to `detail`.
Error current_script_error();

// To be called inside a catch block around the loading of an archive. `where` names the file.
Error current_load_error(const std::string& where);

}  // namespace lenet5
