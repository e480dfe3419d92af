// Problem: libtorch reports a failed method as one text: a heading, a traceback of the serialized code, one of the
// Python source, then the message, for C++ exceptions with a backtrace of libtorch below it. People need the message
// and the line. Resolution: the traceback's last marker separates it from the message, and its last frame is the line.
#include "script_error.h"

#include <c10/util/Exception.h>
#include <torch/csrc/jit/runtime/jit_exception.h>

#include <cctype>
#include <new>

#include "operator_hint.h"

namespace lenet5 {
namespace {

const std::string kHeading = "The following operation failed in the TorchScript interpreter.";
const std::string kMarker = "<--- HERE\n";

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \n\r\t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \n\r\t") - first + 1);
}

bool is_out_of_memory(const std::string& text) {
  return contains(text, "DefaultCPUAllocator: can't allocate memory") ||
         contains(text, "DefaultCPUAllocator: not enough memory") || contains(text, "CUDA out of memory");
}

// `File "model.py", line 5, in forward` of the traceback's innermost frame as "model.py:5, in forward".
std::string innermost_frame(const std::string& traceback) {
  const size_t at = traceback.rfind("  File \"");
  if (at == std::string::npos) return "";
  const size_t name = at + 8;
  const size_t end_of_name = traceback.find("\", line ", name);
  const size_t end_of_line = traceback.find('\n', name);
  if (end_of_name == std::string::npos || end_of_name > end_of_line) return "";
  const std::string rest = traceback.substr(end_of_name + 8, end_of_line - end_of_name - 8);
  return traceback.substr(name, end_of_name - name) + ":" + rest;
}

// The first sentence of a libtorch message: what comes before its backtrace or its quotation of source code.
std::string first_line(const std::string& text) {
  const std::string line = trimmed(text);
  return line.substr(0, line.find('\n'));
}

// What follows the traceback: "ValueError: too many elements". A few lines of source may stand before it; they are
// indented, or have a parenthesis before their first colon.
std::string message_after(const std::string& text, size_t traceback_end) {
  size_t start = traceback_end;
  while (start < text.size()) {
    size_t colon = start;
    while (colon < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[colon])) || text[colon] == '_' || text[colon] == '.')) {
      ++colon;
    }
    if (colon > start && text.compare(colon, 2, ": ") == 0) return trimmed(text.substr(start));
    const size_t newline = text.find('\n', start);
    if (newline == std::string::npos) break;
    start = newline + 1;
  }
  return trimmed(text.substr(traceback_end));
}

void drop_prefix(std::string& text, const std::string& prefix) {
  if (text.compare(0, prefix.size(), prefix) == 0) text.erase(0, prefix.size());
}

Error raised(const std::string& text) {
  if (is_out_of_memory(text)) {
    return Error("OUT_OF_MEMORY", "Expected enough memory for the call but the allocation failed", text);
  }
  const size_t marker = text.rfind(kMarker);
  const bool traced = marker != std::string::npos;
  std::string message = message_after(text, traced ? marker + kMarker.size() : kHeading.size());
  const size_t backtrace = message.find("\nException raised from ");
  if (backtrace != std::string::npos) message = trimmed(message.substr(0, backtrace));
  drop_prefix(message, "builtins.");
  if (message.compare(0, 30, "RuntimeError: AssertionError: ") == 0) drop_prefix(message, "RuntimeError: ");
  const std::string frame = traced ? innermost_frame(text.substr(0, marker)) : "";
  return Error("SCRIPT_RAISED", frame.empty() ? message : message + " (" + frame + ")", text);
}

}  // namespace

Error current_script_error() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return current_error();
  } catch (const std::exception& error) {
    const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
    const std::string text = torch_error ? torch_error->what_without_backtrace() : error.what();
    // libtorch's interpreter throws std::runtime_error, JITException or c10::Error; all of them begin alike.
    if (text.compare(0, kHeading.size(), kHeading) == 0) return raised(text);
    if (is_out_of_memory(text)) return raised(kHeading + text);
    return current_error();
  } catch (...) {
    return current_error();
  }
}

Error current_load_error(const std::string& where) {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return current_error();
  } catch (const std::exception& error) {
    const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
    const std::string text = torch_error ? torch_error->what_without_backtrace() : error.what();
    if (is_out_of_memory(text)) return raised(kHeading + text);
    const std::string line = first_line(text);
    if (const std::string unknown = unknown_operator(line); !unknown.empty()) {
      return Error("SCRIPT_UNSUPPORTED",
                   "Expected operators that this libtorch knows for " + where + " but received " + unknown, text);
    }
    if (contains(text, "Unknown builtin op") || contains(text, "Unknown type name") ||
        contains(text, "maximum supported version")) {
      return Error(
          "SCRIPT_UNSUPPORTED",
          "Expected operators and a file version that this libtorch knows for " + where + " but received: " + line,
          text);
    }
    return Error("MODEL_CORRUPT",
                 "Expected a TorchScript archive for " + where + " but libtorch cannot read it: " + line, text);
  } catch (...) {
    return current_error("MODEL_CORRUPT");
  }
}

}  // namespace lenet5
