// An archive as libtorch's reader wants it, with no byte that was not proven.
//
// Problem: a model may be larger than memory has room for twice. Mapping its file hands libtorch bytes that may change,
// or go (SIGBUS ends the process), after they were checked; reading it whole and checking it first holds every byte
// twice. Resolution: what is small (headers, directory, code, small tensors) was read and checked by whoever calls, and
// is handed over as it was read. A large tensor is read from the file straight into the memory that libtorch has made
// for it, and its CRC-32 is checked there, before libtorch sees it. The file is never mapped; one that changed in the
// meantime is a damaged one.
#pragma once

#include <caffe2/serialize/read_adapter_interface.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../lenet5/error.h"

namespace lenet5 {

// Bytes of the archive that were checked.
struct ArchivePart {
  uint64_t offset;
  std::string bytes;
};

// Contents of an entry that lie in the file as they are, and are still to be checked.
struct ArchiveRecord {
  uint64_t offset;
  uint64_t size;
  uint32_t crc32;
};

struct Archive {
  uint64_t size = 0;
  // In order of their offsets, without overlaps.
  std::vector<ArchivePart> parts;
  // Where the records lie; not needed where there are none.
  std::string path;
  // In order of their offsets.
  std::vector<ArchiveRecord> records;
  // Whether the records are left unread: what libtorch makes for them then takes no memory, and holds anything. Only
  // for a module whose loading looks at no tensor, which is for the caller to know.
  bool without_records = false;
};

class ArchiveReader : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit ArchiveReader(Archive archive);
  ~ArchiveReader() override;

  size_t size() const override { return static_cast<size_t>(archive_.size); }
  // Of a record, all or nothing; what else is no part reads as zeros.
  size_t read(uint64_t position, void* target, size_t count, const char* what = "") const override;

  // Why a read failed, for the error that libtorch makes of it says nothing.
  const std::optional<Error>& failure() const { return failure_; }

 private:
  class File;

  size_t read_record(const ArchiveRecord& record, void* target) const;

  Archive archive_;
  mutable std::unique_ptr<File> file_;
  mutable std::optional<Error> failure_;
};

}  // namespace lenet5
