// What the loader asks of the operating system.
#pragma once

#include <string>
#include <vector>

namespace lenet5::loader {

/// A library that is mapped into this process: file name and folder, symbolic links resolved.
struct MappedLibrary {
  std::string folder;
  std::string name;
};

/// Every shared library in this process.
std::vector<MappedLibrary> mapped_libraries();

/// Resolves symbolic links; gives the path back unchanged where it does not exist.
std::string resolved(const std::string& path);

/// The folder of a path, without a closing separator.
std::string folder_of(const std::string& path);

/// The file name of a path.
std::string name_of(const std::string& path);

/// Opens a library for the rest of the process's life. Returns nullptr and sets `error` where it cannot be opened.
void* open_forever(const std::string& path, std::string& error);

/// Address of an exported symbol, or nullptr.
void* symbol(void* library, const char* name);

/// Keeps the loader itself mapped: Node closes an addon's library when a worker thread ends.
void pin_self();

}  // namespace lenet5::loader
