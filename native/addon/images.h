// Images and labels on their way in from typed arrays.
#pragma once

#include <napi.h>

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "../core/training_engine.h"
#include "typed_arrays.h"

namespace lenet5::addon {

// The array's own memory, for the length of a synchronous call.
inline Images view_of(const Napi::Value& pixels, int size) {
  const auto array = pixels.As<Napi::TypedArray>();
  const bool is_float = array.TypedArrayType() == napi_float32_array;
  const void* data = is_float ? static_cast<const void*>(array.As<Napi::Float32Array>().Data())
                              : static_cast<const void*>(array.As<Napi::Uint8Array>().Data());
  return {data, is_float ? kernels::PixelType::float32 : kernels::PixelType::uint8, size,
          static_cast<int64_t>(array.ElementLength()) / (int64_t{size} * size)};
}

// Pixels that belong to a task, safe from what JavaScript does meanwhile.
class OwnedImages {
 public:
  OwnedImages(const std::vector<Napi::Value>& parts, int size) : images_{nullptr, kernels::PixelType::uint8, size, 0} {
    size_t bytes = 0;
    for (const Napi::Value& part : parts) bytes += part.As<Napi::TypedArray>().ByteLength();
    data_.resize(bytes);
    size_t offset = 0;
    for (const Napi::Value& part : parts) {
      const Images view = view_of(part, size);
      const size_t length = part.As<Napi::TypedArray>().ByteLength();
      if (length > 0) std::memcpy(data_.data() + offset, view.pixels, length);
      offset += length;
      images_.type = view.type;
      images_.count += view.count;
    }
    images_.pixels = data_.data();
  }
  OwnedImages(OwnedImages&& other) noexcept : data_(std::move(other.data_)), images_(other.images_) {
    images_.pixels = data_.data();
  }

  const Images& view() const { return images_; }

 private:
  std::vector<char> data_;
  Images images_;
};

// A labelled set, copied.
inline std::shared_ptr<const ImageSet> image_set(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  auto set = std::make_shared<ImageSet>();
  set->images = copy_in<uint8_t>(object.Get("images"));
  set->labels = copy_in<int32_t>(object.Get("labels"));
  set->size = object.Get("size").As<Napi::Number>().Int32Value();
  return set;
}

}  // namespace lenet5::addon
