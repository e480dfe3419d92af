// Linux and macOS.
#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>

#include "openmp_waiting.h"
#include "platform.h"

#ifdef __APPLE__
#include <mach-o/dyld.h>
#else
#include <link.h>
#endif

namespace lenet5::loader {

std::string resolved(const std::string& path) {
  char buffer[PATH_MAX];
  return ::realpath(path.c_str(), buffer) != nullptr ? std::string(buffer) : path;
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

namespace {

void append(std::vector<MappedLibrary>& libraries, const char* path) {
  if (path == nullptr || path[0] != '/') return;  // the program itself and the kernel's vdso carry no path
  const std::string name = name_of(path);
  libraries.push_back({folder_of(resolved(path)), name});
}

}  // namespace

#ifdef __APPLE__

std::vector<MappedLibrary> mapped_libraries() {
  std::vector<MappedLibrary> libraries;
  const uint32_t count = _dyld_image_count();
  for (uint32_t index = 0; index < count; ++index) append(libraries, _dyld_get_image_name(index));
  return libraries;
}

#else

std::vector<MappedLibrary> mapped_libraries() {
  std::vector<MappedLibrary> libraries;
  dl_iterate_phdr(
      [](struct dl_phdr_info* info, size_t, void* data) {
        append(*static_cast<std::vector<MappedLibrary>*>(data), info->dlpi_name);
        return 0;
      },
      &libraries);
  return libraries;
}

#endif

void* open_forever(const std::string& path, std::string& error) {
  // RTLD_LOCAL: what other addons of the process bring along (protobuf, another BLAS) must not bind to libtorch's
  // symbols, nor libtorch to theirs. RTLD_NODELETE: libtorch does not survive being closed.
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* reason = ::dlerror();
    error = reason != nullptr ? reason : "unknown reason";
  }
  return library;
}

#ifdef __linux__

namespace {

bool has_another_openmp(const std::string& folder) {
  bool found = false;
  if (DIR* directory = ::opendir(folder.c_str()); directory != nullptr) {
    while (const dirent* entry = ::readdir(directory)) {
      const std::string name = entry->d_name;
      found = found || name.rfind("libiomp", 0) == 0 || name.rfind("libomp", 0) == 0;
    }
    ::closedir(directory);
  }
  return found;
}

}  // namespace

OpenMpWaiting::OpenMpWaiting(const std::string& folder) {
  for (const char* name : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}) {
    if (::getenv(name) != nullptr) return;
  }
  if (has_another_openmp(folder)) return;
  set_ = true;
  ::setenv("OMP_WAIT_POLICY", "ACTIVE", 1);
  ::setenv("GOMP_SPINCOUNT", "4000", 1);
}

OpenMpWaiting::~OpenMpWaiting() {
  if (!set_) return;
  ::unsetenv("OMP_WAIT_POLICY");
  ::unsetenv("GOMP_SPINCOUNT");
}

#else

OpenMpWaiting::OpenMpWaiting(const std::string&) {}
OpenMpWaiting::~OpenMpWaiting() = default;

#endif

void* symbol(void* library, const char* name) { return ::dlsym(library, name); }

void pin_self() {
  Dl_info info;
  if (::dladdr(reinterpret_cast<void*>(&pin_self), &info) != 0 && info.dli_fname != nullptr) {
    ::dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  }
}

}  // namespace lenet5::loader
