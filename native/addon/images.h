// Images and labels on their way in from typed arrays.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "../lenet5/images.h"

namespace lenet5::addon {

// 28 or 32. Throws INVALID_SHAPE.
int size_of(const Napi::Value& value, const char* where);

// The array's own memory, for the length of a synchronous call in which no JavaScript runs: a Float32Array or
// Uint8Array of whole images. Throws INVALID_DTYPE, INVALID_SHAPE, INVALID_ARGUMENT.
Images images_view_of(const Napi::Value& pixels, int size, const char* where);

// Pixels that belong to a task, safe from what JavaScript does meanwhile.
class OwnedImages {
 public:
  // The images of several arrays, one after another; all of one element type. With `counts`, an Int32Array, of one
  // array that holds several parts: the images of each. Throws as images_view_of, and COUNT_MISMATCH.
  OwnedImages(const std::vector<Napi::Value>& parts, int size, const Napi::Value& counts);
  OwnedImages(OwnedImages&& other) noexcept;

  const Images& view() const { return images_; }
  // Of several parts, those that hold NaN or infinity become black; returns their positions. One part alone is left
  // as it is.
  std::vector<uint32_t> blank_parts_not_finite();

 private:
  std::unique_ptr<char[]> data_;
  std::vector<int64_t> counts_;  // images of each part
  Images images_;
};

// A labelled set { images, labels, size }, copied and checked. Throws what check_set throws, and INVALID_DTYPE.
ImageSet image_set_of(const Napi::Value& value, int64_t num_classes, const char* where);

}  // namespace lenet5::addon
