// Images and labelled sets in memory, and what is checked of them.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels/lenet5_kernels.h"

namespace lenet5 {

constexpr int64_t kImageSize = 28;
constexpr int64_t kPaddedSize = 32;

// Pixel normalisation in units of 0..1.
struct Normalization {
  double mean = 0.1307;
  double std = 0.3081;
};

// Throws INVALID_OPTION where float32 has no finite number for a normalised pixel.
void check_normalization(const Normalization& normalization);

using Images = kernels::Images;

// A labelled uint8 set; `size` is 28 or 32.
struct ImageSet {
  std::vector<uint8_t> images;
  std::vector<int32_t> labels;
  int size = 28;

  int64_t count() const { return static_cast<int64_t>(labels.size()); }
  Images view() const { return {images.data(), kernels::PixelType::uint8, size, count()}; }
};

// Bytes of one image.
int64_t image_bytes(const Images& images);
// The images `first` … `first + count`.
Images part_of(const Images& images, int64_t first, int64_t count);

// Throws INVALID_PIXELS where float pixels hold NaN or infinity.
void check_finite(const Images& images);
// The same for pixels in which that was seen. It throws even where another thread has written others since.
[[noreturn]] void refuse_not_finite(const Images& images);
// Throws INVALID_LABELS for a label outside 0 … num_classes - 1; `where` names the labels. They are indices into
// buffers from here on.
void check_labels(const std::vector<int32_t>& labels, int64_t num_classes, const char* where);
// Throws INVALID_SHAPE, DATA_EMPTY, COUNT_MISMATCH, INVALID_LABELS; `where` names the set.
void check_set(const ImageSet& set, int64_t num_classes, const char* where);

}  // namespace lenet5
