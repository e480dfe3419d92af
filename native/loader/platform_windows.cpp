// Windows. Written for, not yet tested on it.
#include <windows.h>
// after windows.h
#include <psapi.h>

#include <algorithm>

#include "openmp_waiting.h"
#include "platform.h"

namespace lenet5::loader {

namespace {

std::wstring wide(const std::string& text) {
  const int length = ::MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), nullptr, 0);
  std::wstring result(static_cast<size_t>(length), L'\0');
  ::MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), result.data(), length);
  return result;
}

std::string narrow(const std::wstring& text) {
  const int length =
      ::WideCharToMultiByte(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), nullptr, 0, nullptr, nullptr);
  std::string result(static_cast<size_t>(length), '\0');
  ::WideCharToMultiByte(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), result.data(), length, nullptr,
                        nullptr);
  return result;
}

}  // namespace

std::string resolved(const std::string& path) {
  const HANDLE file = ::CreateFileW(wide(path).c_str(), 0, FILE_SHARE_READ, nullptr, OPEN_EXISTING,
                                    FILE_FLAG_BACKUP_SEMANTICS, nullptr);
  if (file == INVALID_HANDLE_VALUE) return path;
  std::wstring buffer(32768, L'\0');
  const DWORD length = ::GetFinalPathNameByHandleW(file, buffer.data(), static_cast<DWORD>(buffer.size()), 0);
  ::CloseHandle(file);
  if (length == 0 || length >= buffer.size()) return path;
  buffer.resize(length);
  return narrow(buffer);
}

std::string folder_of(const std::string& path) {
  const auto slash = path.find_last_of("\\/");
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  const auto slash = path.find_last_of("\\/");
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::vector<MappedLibrary> mapped_libraries() {
  std::vector<MappedLibrary> libraries;
  std::vector<HMODULE> modules(4096);
  DWORD bytes = 0;
  if (!::K32EnumProcessModules(::GetCurrentProcess(), modules.data(),
                               static_cast<DWORD>(modules.size() * sizeof(HMODULE)), &bytes)) {
    return libraries;
  }
  modules.resize(std::min(modules.size(), static_cast<size_t>(bytes / sizeof(HMODULE))));
  for (const HMODULE module : modules) {
    std::wstring buffer(32768, L'\0');
    const DWORD length = ::GetModuleFileNameW(module, buffer.data(), static_cast<DWORD>(buffer.size()));
    if (length == 0) continue;
    buffer.resize(length);
    const std::string path = narrow(buffer);
    libraries.push_back({folder_of(resolved(path)), name_of(path)});
  }
  return libraries;
}

void* open_forever(const std::string& path, std::string& error) {
  const HMODULE library = ::LoadLibraryExW(wide(path).c_str(), nullptr,
                                           LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
  if (library == nullptr) {
    error = "LoadLibraryEx failed with code " + std::to_string(::GetLastError());
    return nullptr;
  }
  HMODULE pinned = nullptr;
  ::GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                       reinterpret_cast<LPCWSTR>(library), &pinned);
  return library;
}

// Microsoft's OpenMP is another.
OpenMpWaiting::OpenMpWaiting(const std::string&) {}
OpenMpWaiting::~OpenMpWaiting() = default;

void* symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(::GetProcAddress(static_cast<HMODULE>(library), name));
}

void pin_self() {
  HMODULE pinned = nullptr;
  ::GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                       reinterpret_cast<LPCWSTR>(&pin_self), &pinned);
}

}  // namespace lenet5::loader
