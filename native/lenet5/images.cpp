#include "images.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "error.h"
#include "number_text.h"

namespace lenet5 {

void check_normalization(const Normalization& normalization) {
  const auto mean = static_cast<float>(normalization.mean), deviation = static_cast<float>(normalization.std);
  // The smallest normal number: the kernels take smaller ones as 0.
  if (deviation >= std::numeric_limits<float>::min() && std::isfinite(deviation) && std::isfinite(mean / deviation)) {
    return;
  }
  throw Error("INVALID_OPTION",
              "Expected a mean and a std above 0 that divide in float32 for normalization but received " +
                  number_text(normalization.mean) + " and " + number_text(normalization.std));
}

int64_t image_bytes(const Images& images) {
  const int64_t pixel = images.type == kernels::PixelType::uint8 ? 1 : int64_t{sizeof(float)};
  return int64_t{images.size} * images.size * pixel;
}

Images part_of(const Images& images, int64_t first, int64_t count) {
  const char* pixels = static_cast<const char*>(images.pixels) + first * image_bytes(images);
  return {pixels, images.type, images.size, count};
}

void check_finite(const Images& images) {
  if (images.type != kernels::PixelType::float32) return;
  const auto* pixels = static_cast<const float*>(images.pixels);
  const int64_t length = images.count * images.size * images.size;
  if (!kernels::all_finite(pixels, length)) refuse_not_finite(images);
}

void refuse_not_finite(const Images& images) {
  const auto* pixels = static_cast<const float*>(images.pixels);
  const int64_t length = images.count * images.size * images.size;
  const float* found = std::find_if(pixels, pixels + length, [](float pixel) { return !std::isfinite(pixel); });
  const std::string expected = "Expected finite numbers for images but received ";
  if (found == pixels + length) throw Error("INVALID_PIXELS", expected + "others");
  throw Error("INVALID_PIXELS",
              expected + (std::isnan(*found) ? "NaN" : "infinity") + " at pixel " + std::to_string(found - pixels));
}

void check_labels(const std::vector<int32_t>& labels, int64_t num_classes, const char* where) {
  for (size_t i = 0; i < labels.size(); i++) {
    if (labels[i] >= 0 && labels[i] < num_classes) continue;
    throw Error("INVALID_LABELS", "Expected labels from 0 to " + std::to_string(num_classes - 1) + " for " + where +
                                      " but received " + std::to_string(labels[i]) + " at " + std::to_string(i));
  }
}

void check_set(const ImageSet& set, int64_t num_classes, const char* where) {
  const std::string name(where);
  if (set.size != kImageSize && set.size != kPaddedSize) {
    throw Error("INVALID_SHAPE",
                "Expected 28 or 32 for the image size of " + name + " but received " + std::to_string(set.size));
  }
  const size_t pixels = static_cast<size_t>(set.size) * static_cast<size_t>(set.size);
  if (set.images.empty()) throw Error("DATA_EMPTY", "Expected at least one image for " + name + " but received none");
  if (set.images.size() % pixels != 0) {
    throw Error("INVALID_SHAPE", "Expected a multiple of " + std::to_string(pixels) + " pixels for the images of " +
                                     name + " but received " + std::to_string(set.images.size()));
  }
  if (set.labels.size() != set.images.size() / pixels) {
    throw Error("COUNT_MISMATCH", "Expected " + std::to_string(set.images.size() / pixels) +
                                      " labels, one an image, for " + name + " but received " +
                                      std::to_string(set.labels.size()));
  }
  check_labels(set.labels, num_classes, (name + ".labels").c_str());
}

}  // namespace lenet5
