#include "images.h"

#include <cstring>
#include <string>
#include <utility>

#include "../lenet5/error.h"
#include "checked.h"

namespace lenet5::addon {

int size_of(const Napi::Value& value, const char* where) {
  const double size = number_of(value, where);
  if (size == kImageSize || size == kPaddedSize) return static_cast<int>(size);
  throw Error("INVALID_SHAPE", std::string("Expected 28 or 32 for ") + where + " but received another size");
}

Images images_view_of(const Napi::Value& pixels, int size, const char* where) {
  const BytesView view = bytes_view_of(pixels, where);
  const bool is_float = view.type == napi_float32_array;
  if (!is_float && view.type != napi_uint8_array) {
    throw Error("INVALID_DTYPE", std::string("Expected a Float32Array or a Uint8Array for ") + where +
                                     " but received " + describe(pixels));
  }
  Images images{view.data, is_float ? kernels::PixelType::float32 : kernels::PixelType::uint8, size, 0};
  const auto bytes = static_cast<size_t>(image_bytes(images));
  if (view.bytes % bytes != 0) {
    throw Error("INVALID_SHAPE", "Expected whole images of " + std::to_string(size * size) + " pixels for " + where +
                                     " but received " + std::to_string(view.bytes) + " bytes");
  }
  images.count = static_cast<int64_t>(view.bytes / bytes);
  return images;
}

namespace {

// Whole numbers that sum up to `images`; copied before they are looked at, for the array may be shared with a thread.
std::vector<int64_t> parts_of(const Napi::Value& counts, int64_t images) {
  const View<int32_t> view = view_of<int32_t>(counts, "counts");
  std::vector<int64_t> parts(view.data, view.data + view.length);
  int64_t sum = 0;
  bool whole = true;
  for (const int64_t part : parts) {
    whole = whole && part >= 0;
    sum += part;
  }
  if (whole && sum == images) return parts;
  throw Error("COUNT_MISMATCH", "Expected counts of " + std::to_string(images) +
                                    " images for counts but received others, " + std::to_string(sum) + " in all");
}

}  // namespace

OwnedImages::OwnedImages(const std::vector<Napi::Value>& parts, int size, const Napi::Value& counts)
    : images_{nullptr, kernels::PixelType::uint8, size, 0} {
  std::vector<Images> views;
  size_t bytes = 0;
  for (const Napi::Value& part : parts) {
    views.push_back(images_view_of(part, size, "images"));
    if (views.back().type != views.front().type) {
      throw Error("INVALID_DTYPE", "Expected one element type for all images but received two");
    }
    bytes += static_cast<size_t>(views.back().count * image_bytes(views.back()));
  }
  data_.reset(new char[bytes]);  // not zeroed: it is written next
  size_t offset = 0;
  for (const Images& view : views) {
    const auto length = static_cast<size_t>(view.count * image_bytes(view));
    if (length > 0) std::memcpy(data_.get() + offset, view.pixels, length);
    offset += length;
    counts_.push_back(view.count);
    images_.type = view.type;
    images_.count += view.count;
  }
  images_.pixels = data_.get();
  if (counts.IsUndefined()) return;
  if (views.size() != 1) {
    throw Error("COUNT_MISMATCH", "Expected one array for counts but received " + std::to_string(views.size()));
  }
  counts_ = parts_of(counts, images_.count);
}

OwnedImages::OwnedImages(OwnedImages&& other) noexcept
    : data_(std::move(other.data_)), counts_(std::move(other.counts_)), images_(other.images_) {
  images_.pixels = data_.get();
}

std::vector<uint32_t> OwnedImages::blank_parts_not_finite() {
  std::vector<uint32_t> blanked;
  if (counts_.size() < 2 || images_.type != kernels::PixelType::float32) return blanked;
  int64_t first = 0;
  for (size_t part = 0; part < counts_.size(); part++) {
    const Images images = part_of(images_, first, counts_[part]);
    const int64_t pixels = images.count * images.size * images.size;
    if (!kernels::all_finite(static_cast<const float*>(images.pixels), pixels)) {
      const int64_t bytes = image_bytes(images);
      std::memset(data_.get() + first * bytes, 0, static_cast<size_t>(images.count * bytes));
      blanked.push_back(static_cast<uint32_t>(part));
    }
    first += counts_[part];
  }
  return blanked;
}

ImageSet image_set_of(const Napi::Value& value, int64_t num_classes, const char* where) {
  const std::string name(where);
  const Napi::Object object = object_of(value, where);
  const Napi::Value images = object.Get("images"), labels = object.Get("labels"), size = object.Get("size");
  ImageSet set;
  set.size = size_of(size, (name + ".size").c_str());
  set.images = copy_of<uint8_t>(images, (name + ".images").c_str());
  set.labels = copy_of<int32_t>(labels, (name + ".labels").c_str());
  check_set(set, num_classes, where);
  return set;
}

}  // namespace lenet5::addon
