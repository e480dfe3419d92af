// Draws each image's distortion and hands the resampling to the pool.
#include "augment.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "kernel_table.h"
#include "thread_pool.h"

namespace lenet5::kernels {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr int64_t kChunk = 8;  // images of a task

// SplitMix64 (Steele, Lea and Flood 2014): number n of an image is a function of (seed, stream, image, n) and nothing
// else.
class Draws {
 public:
  Draws(uint64_t seed, uint64_t stream, uint64_t image)
      : counter_(mix((mix(mix(seed + kIncrement) ^ stream) + kIncrement) ^ image)) {}

  uint64_t bits() { return mix(counter_ += kIncrement); }

  // Uniform in -1 ≤ x < 1, in steps of 2⁻²³.
  double symmetric() { return static_cast<double>(static_cast<int64_t>(bits()) >> 40) / (1 << 23); }

 private:
  static constexpr uint64_t kIncrement = 0x9e3779b97f4a7c15;

  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t counter_;
};

// The inverse map: where output pixel (x, y) comes from. Forward, an image is stretched, sheared, rotated and shifted,
// all about its centre.
void draw_affine(const AugmentationOptions& options, int size, Draws& draws, Distortion& map) {
  const double shift_x = options.shift * draws.symmetric(), shift_y = options.shift * draws.symmetric();
  const double angle = options.rotation * draws.symmetric() * kPi / 180;
  const double stretch_x = 1 + options.scale * draws.symmetric(), stretch_y = 1 + options.scale * draws.symmetric();
  const double slant = std::tan(options.shear * draws.symmetric() * kPi / 180);
  const double c = std::cos(angle), s = std::sin(angle);
  const double xx = (c + slant * s) / stretch_x, xy = (s - slant * c) / stretch_x;
  const double yx = -s / stretch_y, yy = c / stretch_y;
  const double centre = (size - 1) / 2.0, x = centre + shift_x, y = centre + shift_y;
  map.xx = static_cast<float>(xx);
  map.xy = static_cast<float>(xy);
  map.yx = static_cast<float>(yx);
  map.yy = static_cast<float>(yy);
  map.x0 = static_cast<float>(centre - xx * x - xy * y);
  map.y0 = static_cast<float>(centre - yx * x - yy * y);
}

void draw_displacements(const AugmentationOptions& options, int size, Draws& draws, Displacements& field) {
  field.knots = 0;
  if (options.elastic_alpha == 0) return;
  const double spacing = std::sqrt(3.0) * options.elastic_sigma;
  // A sum of independent knots, each weighted by the splines of both axes, whose squares sum to 151/315 an axis on
  // average. The knots' own noise is uniform: a third of its square is its variance.
  const double deviation = options.elastic_alpha / (2 * options.elastic_sigma * std::sqrt(3 * kPi));
  const auto factor = static_cast<float>(deviation * std::sqrt(3.0) * 315 / 151 / 32768);
  field.knots = std::min(kMaxKnots, static_cast<int>(std::ceil((size - 1) / spacing)) + 4);
  field.inverse_spacing = static_cast<float>(1 / spacing);
  field.origin_x = static_cast<float>(-1.5 + draws.symmetric() / 2);  // between two and one knots before the image
  field.origin_y = static_cast<float>(-1.5 + draws.symmetric() / 2);
  for (auto* knots : {field.x, field.y}) {
    for (int row = 0; row < field.knots; ++row) {
      for (int k = 0; k < field.knots; k += 4) {  // kMaxKnots is a multiple of 4: the last ones may be for nothing
        const uint64_t bits = draws.bits();
        for (int i = 0; i < 4; ++i) knots[row][k + i] = factor * static_cast<int16_t>(bits >> 16 * i);
      }
    }
  }
}

void check_range(double value, double least, double most, const char* option) {
  if (value >= least && value <= most) return;  // false for NaN
  const auto text = [](double number) {
    std::string digits = std::to_string(number);
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.back() == '.') digits.pop_back();
    return digits;
  };
  throw std::invalid_argument("Expected a number in " + text(least) + " … " + text(most) + " for augmentation." +
                              option + " but received " + text(value));
}

}  // namespace

void check_augmentation(const AugmentationOptions& options) {
  check_range(options.shift, 0, 32, "shift");
  check_range(options.rotation, 0, 180, "rotation");
  check_range(options.scale, 0, 0.9, "scale");
  check_range(options.shear, 0, 60, "shear");
  check_range(options.elastic_alpha, 0, 1000, "elastic.alpha");
  if (options.elastic_alpha > 0) check_range(options.elastic_sigma, 1, 32, "elastic.sigma");
}

void augment(const uint8_t* images, int size, const int64_t* indices, int64_t count, const AugmentationOptions& options,
             uint64_t seed, uint64_t stream, uint8_t* out, InstructionSet set) {
  check_augmentation(options);
  if (size != 28 && size != 32) throw std::invalid_argument("Expected images of 28 × 28 or 32 × 32 pixels");
  const KernelTable& kernels = table(set);
  const int64_t pixels = int64_t{size} * size;
  parallel_for((count + kChunk - 1) / kChunk, [&](int64_t chunk) {
    Distortion map;
    DistortionScratch scratch;
    for (int64_t i = chunk * kChunk; i < std::min(count, (chunk + 1) * kChunk); ++i) {
      const int64_t image = indices ? indices[i] : i;
      Draws draws(seed, stream, static_cast<uint64_t>(image));
      draw_affine(options, size, draws, map);
      draw_displacements(options, size, draws, map.displacements);
      kernels.distort(images + image * pixels, size, map, scratch, out + i * pixels);
    }
  });
}

}  // namespace lenet5::kernels
