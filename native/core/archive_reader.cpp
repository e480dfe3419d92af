#include "archive_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../lenet5/crc32.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#endif

namespace lenet5 {

#ifdef _WIN32

// Written for Windows, not yet tested on it.
class ArchiveReader::File {
 public:
  explicit File(const std::string& path) {
    const int length = ::MultiByteToWideChar(CP_UTF8, 0, path.data(), static_cast<int>(path.size()), nullptr, 0);
    std::wstring wide(static_cast<size_t>(length), L'\0');
    ::MultiByteToWideChar(CP_UTF8, 0, path.data(), static_cast<int>(path.size()), wide.data(), length);
    handle_ = ::CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                            OPEN_EXISTING, 0, nullptr);
  }
  ~File() {
    if (handle_ != INVALID_HANDLE_VALUE) ::CloseHandle(handle_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // How many bytes were there to be read.
  size_t read(uint64_t position, void* target, size_t count) const {
    if (handle_ == INVALID_HANDLE_VALUE) return 0;
    size_t done = 0;
    while (done < count) {
      OVERLAPPED at{};
      at.Offset = static_cast<DWORD>(position + done);
      at.OffsetHigh = static_cast<DWORD>((position + done) >> 32);
      DWORD got = 0;
      const auto wanted = static_cast<DWORD>(std::min<size_t>(count - done, 1u << 30));
      if (!::ReadFile(handle_, static_cast<char*>(target) + done, wanted, &got, &at) || got == 0) break;
      done += got;
    }
    return done;
  }

 private:
  HANDLE handle_ = INVALID_HANDLE_VALUE;
};

#else

class ArchiveReader::File {
 public:
  explicit File(const std::string& path) : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    // A pipe in the file's place would give what it likes, when it likes.
    struct stat found{};
    if (descriptor_ >= 0 && (::fstat(descriptor_, &found) != 0 || !S_ISREG(found.st_mode))) close();
  }
  ~File() { close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // How many bytes were there to be read.
  size_t read(uint64_t position, void* target, size_t count) const {
    size_t done = 0;
    while (descriptor_ >= 0 && done < count) {
      const size_t wanted = std::min<size_t>(count - done, 1u << 30);
      const ssize_t got =
          ::pread(descriptor_, static_cast<char*>(target) + done, wanted, static_cast<off_t>(position + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

 private:
  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }

  int descriptor_;
};

#endif

ArchiveReader::ArchiveReader(Archive archive) : archive_(std::move(archive)) {}
ArchiveReader::~ArchiveReader() = default;

size_t ArchiveReader::read(uint64_t position, void* target, size_t count, const char*) const {
  if (position >= archive_.size) return 0;
  count = static_cast<size_t>(std::min<uint64_t>(count, archive_.size - position));
  // The last record that begins at the position or before it.
  auto record = std::upper_bound(archive_.records.begin(), archive_.records.end(), position,
                                 [](uint64_t at, const ArchiveRecord& each) { return at < each.offset; });
  if (count > 0 && record != archive_.records.begin()) {
    --record;
    const uint64_t into = position - record->offset;
    if (into == 0 && record->size == count) return read_record(*record, target);
    // Zeros for a piece of a tensor would be a wrong answer. (A search for the archive's end may take a record's last
    // bytes along; it looks for nothing in them.)
    if (into < record->size && count <= record->size - into && !archive_.without_records) {
      failure_.emplace("MODEL_CORRUPT",
                       "Expected tensors that are read whole from " + archive_.path + " but received a read in pieces");
      return 0;
    }
  }
  // The first part that ends behind the position.
  auto part =
      std::upper_bound(archive_.parts.begin(), archive_.parts.end(), position,
                       [](uint64_t at, const ArchivePart& each) { return at < each.offset + each.bytes.size(); });
  auto* bytes = static_cast<char*>(target);
  const uint64_t end = position + count;
  for (; part != archive_.parts.end() && part->offset < end; ++part) {
    if (part->offset > position) {
      const auto gap = static_cast<size_t>(part->offset - position);
      std::memset(bytes, 0, gap);
      bytes += gap;
      position = part->offset;
    }
    const auto start = static_cast<size_t>(position - part->offset);
    const auto length = static_cast<size_t>(std::min<uint64_t>(part->bytes.size() - start, end - position));
    std::memcpy(bytes, part->bytes.data() + start, length);
    bytes += length;
    position += length;
  }
  std::memset(bytes, 0, static_cast<size_t>(end - position));
  return count;
}

size_t ArchiveReader::read_record(const ArchiveRecord& record, void* target) const {
  const auto size = static_cast<size_t>(record.size);
  if (archive_.without_records) return size;
  if (!file_) file_ = std::make_unique<File>(archive_.path);
  // A piece at a time, checked while it is in the processor's cache.
  constexpr size_t kPiece = 256 * 1024;
  uint32_t crc = 0;
  for (size_t done = 0; done < size;) {
    auto* piece = static_cast<char*>(target) + done;
    const size_t length = std::min(kPiece, size - done);
    if (file_->read(record.offset + done, piece, length) != length) {
      failure_.emplace("MODEL_CORRUPT", "Expected a TorchScript archive for " + archive_.path +
                                            " but received a file that became shorter while it was read");
      return 0;
    }
    crc = crc32(piece, length, crc);
    done += length;
  }
  if (crc != record.crc32) {
    failure_.emplace("MODEL_CORRUPT", "Expected a TorchScript archive for " + archive_.path +
                                          " but received a damaged file: the checksum of the " + std::to_string(size) +
                                          " bytes at " + std::to_string(record.offset) + " does not match");
    return 0;
  }
  return size;
}

}  // namespace lenet5
