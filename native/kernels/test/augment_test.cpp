// Holds augmentation to a naive resampling in double precision, to its published strengths, and to the promise that an
// image's distortion depends on nothing but seed, stream and image. Built and run like kernels_test.cpp.
#include "augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "kernel_table.h"

using namespace lenet5::kernels;

namespace {

constexpr AugmentationOptions kNone = {0, 0, 0, 0, 0, 4};
constexpr AugmentationOptions kAll = {2, 15, 0.15, 15, 34, 4};
using Bytes = std::vector<uint8_t>;

Bytes noise(int64_t count, int size, uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(static_cast<size_t>(count * size * size));
  for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

Bytes augmented(const Bytes& images, int size, const std::vector<int64_t>& indices, const AugmentationOptions& options,
                uint64_t seed = 1, uint64_t stream = 0, InstructionSet set = best_instruction_set()) {
  Bytes out(indices.size() * static_cast<size_t>(size * size));
  augment(images.data(), size, indices.data(), static_cast<int64_t>(indices.size()), options, seed, stream, out.data(),
          set);
  return out;
}

std::vector<int64_t> first(int64_t count) {
  std::vector<int64_t> list(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) list[static_cast<size_t>(i)] = i;
  return list;
}

// ---- against double precision ----

double spline(double t) {
  t = std::abs(t);
  return t < 1 ? 2.0 / 3 - t * t + t * t * t / 2 : t < 2 ? std::pow(2 - t, 3) / 6 : 0;
}

double reference_pixel(const uint8_t* image, int size, const Distortion& map, int x, int y) {
  double u = map.xx * double{1} * x + map.xy * double{1} * y + map.x0;
  double v = map.yx * double{1} * x + map.yy * double{1} * y + map.y0;
  const Displacements& field = map.displacements;
  for (int row = 0; row < field.knots; ++row) {
    for (int column = 0; column < field.knots; ++column) {
      const double weight = spline(double{field.inverse_spacing} * y - field.origin_y - row) *
                            spline(double{field.inverse_spacing} * x - field.origin_x - column);
      u += weight * field.x[row][column];
      v += weight * field.y[row][column];
    }
  }
  const auto at = [&](double column, double row) -> double {
    const bool inside = column >= 0 && row >= 0 && column < size && row < size;
    return inside ? image[static_cast<int>(row) * size + static_cast<int>(column)] : 0;
  };
  const double left = std::floor(u), top = std::floor(v), right = u - left, down = v - top;
  return (at(left, top) * (1 - right) + at(left + 1, top) * right) * (1 - down) +
         (at(left, top + 1) * (1 - right) + at(left + 1, top + 1) * right) * down;
}

void test_resampling(InstructionSet set, int size) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<float> uniform(-1, 1);
  double worst = 0;
  for (int round = 0; round < 60; ++round) {
    const Bytes image = noise(1, size, static_cast<uint64_t>(round));
    Distortion map{};
    map.xx = 1 + 0.3f * uniform(random);
    map.xy = 0.3f * uniform(random);
    map.yx = 0.3f * uniform(random);
    map.yy = 1 + 0.3f * uniform(random);
    map.x0 = 6 * uniform(random);
    map.y0 = 6 * uniform(random);
    map.displacements.knots = round % 3 == 0 ? 0 : round % 3 == 1 ? 9 : kMaxKnots;
    map.displacements.inverse_spacing = static_cast<float>(map.displacements.knots - 4) / 32;
    map.displacements.origin_x = -1.5f + uniform(random) / 2;
    map.displacements.origin_y = -1.5f + uniform(random) / 2;
    for (int i = 0; i < kMaxKnots * kMaxKnots; ++i) {
      map.displacements.x[i / kMaxKnots][i % kMaxKnots] = 4 * uniform(random);
      map.displacements.y[i / kMaxKnots][i % kMaxKnots] = 4 * uniform(random);
    }
    DistortionScratch scratch;
    Bytes out(image.size());
    table(set).distort(image.data(), size, map, scratch, out.data());
    for (int i = 0; i < size * size; ++i) {
      const double expected = reference_pixel(image.data(), size, map, i % size, i / size);
      worst = std::max(worst, std::abs(expected - out[static_cast<size_t>(i)]));
    }
  }
  // Coordinates are rounded to 1/256 pixel: half of that along each axis, over steps of up to 255, and the rounding.
  check_below(worst, 1.51, name(set), "resampling of noise of side %lld against double precision", size);
}

// Any map at all ends inside the frame.
void test_hostile_maps(InstructionSet set) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();
  const Bytes white(784, 255);
  int wrong = 0;
  for (const float hostile : {nan, infinite, -infinite, 3e38f, -3e38f, 2147483648.0f, -2147483904.0f, 1e9f}) {
    for (int field = 0; field < 3; ++field) {
      Distortion map{};
      map.xx = map.yy = field == 0 ? hostile : 1;
      map.x0 = map.y0 = field == 1 ? hostile : 40;
      if (field == 2) {
        map.displacements.knots = kMaxKnots;
        map.displacements.inverse_spacing = 0.5f;
        for (auto* knots : {map.displacements.x, map.displacements.y}) {
          std::fill_n(&knots[0][0], kMaxKnots * kMaxKnots, hostile);
        }
      }
      DistortionScratch scratch;
      Bytes out(784, 1);
      table(set).distort(white.data(), 28, map, scratch, out.data());
      wrong += out != Bytes(784, 0);
    }
  }
  check(wrong == 0, "maps that lead nowhere give black", name(set), wrong, 0);
}

// ---- what an image's distortion depends on ----

void test_reproducibility(InstructionSet set, int size) {
  const Bytes images = noise(50, size, 5);
  const Bytes expected = augmented(images, size, first(50), kAll, 7, 3, InstructionSet::baseline);
  const int64_t pixels = int64_t{size} * size;
  for (const AugmentationOptions& options :
       {kAll, AugmentationOptions{32, 180, 0.9, 60, 1000, 1}, AugmentationOptions{0, 0, 0, 0, 500, 32}}) {
    const bool same = augmented(images, size, first(50), options, 7, 3, InstructionSet::baseline) ==
                      augmented(images, size, first(50), options, 7, 3, set);
    check(same, "the same bytes as the baseline", name(set), size, 0);
  }

  int64_t wrong = 0;
  for (const int threads : {1, 3, 2}) {
    set_num_threads(threads);
    wrong += augmented(images, size, first(50), kAll, 7, 3, set) != expected;
  }
  check(wrong == 0, "any number of threads", name(set), static_cast<double>(wrong), 0);

  std::vector<int64_t> shuffled = {49, 0, 7, 7, 31, 12, 3};
  const Bytes batch = augmented(images, size, shuffled, kAll, 7, 3, set);
  wrong = 0;
  for (size_t i = 0; i < shuffled.size(); ++i) {
    wrong += std::memcmp(&batch[i * static_cast<size_t>(pixels)], &expected[static_cast<size_t>(shuffled[i] * pixels)],
                         static_cast<size_t>(pixels)) != 0;
  }
  check(wrong == 0, "any batch, in any order", name(set), static_cast<double>(wrong), 0);

  const Bytes other_seed = augmented(images, size, first(50), kAll, 8, 3, set);
  const Bytes other_stream = augmented(images, size, first(50), kAll, 7, 4, set);
  const Bytes twins = augmented(Bytes(static_cast<size_t>(2 * pixels), 200), size, {0, 1}, kAll, 7, 3, set);
  check(other_seed != expected && other_stream != expected && other_seed != other_stream,
        "another seed and another stream distort otherwise", name(set), 0, 0);
  check(std::memcmp(&twins[0], &twins[static_cast<size_t>(pixels)], static_cast<size_t>(pixels)) != 0,
        "two equal images are distorted each in its own way", name(set), 0, 0);

  check(augmented(images, size, first(50), kNone, 7, 3, set) == images, "no strength leaves every byte", name(set), 0,
        0);
}

// ---- strengths, measured on slopes of grey whose value tells where a pixel came from ----

struct Slopes {
  static constexpr int64_t kCount = 4000;
  std::vector<double> x, y;  // [image][row][column]: source coordinates

  explicit Slopes(const AugmentationOptions& options) : x(kCount * 784), y(kCount * 784) {
    Bytes along_x(kCount * 784), along_y(kCount * 784);
    for (size_t i = 0; i < along_x.size(); ++i) {
      along_x[i] = static_cast<uint8_t>(9 * (i % 28));
      along_y[i] = static_cast<uint8_t>(9 * (i / 28 % 28));
    }
    along_x = augmented(along_x, 28, first(kCount), options);
    along_y = augmented(along_y, 28, first(kCount), options);
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = along_x[i] / 9.0;
      y[i] = along_y[i] / 9.0;
    }
  }

  static double at(const std::vector<double>& from, int64_t image, int row, int column) {
    return from[static_cast<size_t>(image * 784 + row * 28 + column)];
  }
};

struct Range {
  double least = 1e30, most = -1e30, sum = 0, squares = 0;
  int64_t count = 0;
  void add(double value) {
    least = std::min(least, value);
    most = std::max(most, value);
    sum += value;
    squares += value * value;
    ++count;
  }
  double mean() const { return sum / static_cast<double>(count); }
  double deviation() const { return std::sqrt(squares / static_cast<double>(count) - mean() * mean()); }
};

// Uniform between -strength and strength.
void check_uniform(const Range& range, double strength, double tolerance, const char* what) {
  const double off = std::max({std::abs(range.least + strength), std::abs(range.most - strength),
                               std::abs(range.deviation() - strength / std::sqrt(3.0)), std::abs(range.mean())});
  check(off <= tolerance, what, "all", off, tolerance);
}

void test_strengths() {
  constexpr double degrees = 180 / 3.14159265358979323846;
  {
    const Slopes slopes({3, 0, 0, 0, 0, 4});
    Range x, y;
    for (int64_t i = 0; i < Slopes::kCount; ++i) {
      x.add(14 - Slopes::at(slopes.x, i, 14, 14));
      y.add(14 - Slopes::at(slopes.y, i, 14, 14));
    }
    check_uniform(x, 3, 0.1, "shift along x");
    check_uniform(y, 3, 0.1, "shift along y");
  }
  const auto per_pixel = [](const std::vector<double>& from, int64_t i, bool down) {
    return (Slopes::at(from, i, down ? 20 : 14, down ? 14 : 20) - Slopes::at(from, i, down ? 7 : 14, down ? 14 : 7)) /
           13;
  };
  {
    const Slopes slopes({0, 20, 0, 0, 0, 4});
    Range angle, moved;
    for (int64_t i = 0; i < Slopes::kCount; ++i) {
      angle.add(degrees * std::atan2(per_pixel(slopes.x, i, true), per_pixel(slopes.x, i, false)));
      double centre = 0;
      for (const int p : {13 * 28 + 13, 13 * 28 + 14, 14 * 28 + 13, 14 * 28 + 14}) {
        centre += slopes.x[static_cast<size_t>(i * 784 + p)] / 4;
      }
      moved.add(centre - 13.5);
    }
    check_uniform(angle, 20, 1, "rotation");
    check_below(std::max(-moved.least, moved.most), 0.1, "all", "rotation is about the centre");
  }
  {
    const Slopes slopes({0, 0, 0.2, 0, 0, 4});
    Range x, y, ratio;
    for (int64_t i = 0; i < Slopes::kCount; ++i) {
      x.add(1 / per_pixel(slopes.x, i, false) - 1);
      y.add(1 / per_pixel(slopes.y, i, true) - 1);
      ratio.add(per_pixel(slopes.x, i, false) / per_pixel(slopes.y, i, true));
    }
    check_uniform(x, 0.2, 0.02, "scale along x");
    check_uniform(y, 0.2, 0.02, "scale along y");
    check(ratio.most > 1.3, "each axis has a scale of its own", "all", ratio.most, 1.3);
  }
  {
    const Slopes slopes({0, 0, 0, 20, 0, 4});
    Range shear, other;
    for (int64_t i = 0; i < Slopes::kCount; ++i) {
      shear.add(degrees * std::atan(per_pixel(slopes.x, i, true)));
      other.add(per_pixel(slopes.y, i, false));
    }
    check_uniform(shear, 20, 1, "shear");
    check_below(std::max(-other.least, other.most), 0.02, "all", "shear is horizontal");
  }
  // Simard's parameters: standard deviation and correlation of the displacements.
  for (const double sigma : {3.0, 4.0, 6.0}) {
    const double alpha = 8.5 * sigma, expected = alpha / (2 * sigma * std::sqrt(3 * 3.14159265358979323846));
    const Slopes slopes({0, 0, 0, 0, alpha, sigma});
    Range x, y;
    const int step = static_cast<int>(sigma);
    double product = 0, across = 0;
    for (int64_t i = 0; i < Slopes::kCount; ++i) {
      for (int row = 8; row < 20; ++row) {
        for (int column = 8; column < 14; ++column) {
          const double here = Slopes::at(slopes.x, i, row, column) - column;
          x.add(here);
          y.add(Slopes::at(slopes.y, i, row, column) - row);
          product += here * (Slopes::at(slopes.x, i, row, column + step) - column - step);
          across += here * (Slopes::at(slopes.y, i, row, column) - row);
        }
      }
    }
    const double variance = expected * expected * static_cast<double>(x.count);
    check_below(std::abs(x.deviation() / expected - 1), 0.04, "all", "displacements along x, sigma %lld", step);
    check_below(std::abs(y.deviation() / expected - 1), 0.04, "all", "displacements along y, sigma %lld", step);
    check_below(std::abs(product / variance - std::exp(-0.25)), 0.05, "all",
                "correlation of displacements at a distance of sigma %lld", step);
    check_below(std::abs(across / variance), 0.05, "all", "x and y are displaced independently, sigma %lld", step);
  }
  const Bytes shifted = augmented(Bytes(100 * 784, 255), 28, first(100), {20, 0, 0, 0, 0, 4});
  check(std::count(shifted.begin(), shifted.end(), 0) > 100 * 784 / 3, "what comes from outside is black", "all",
        static_cast<double>(std::count(shifted.begin(), shifted.end(), 0)), 100 * 784 / 3.0);
}

void test_refusals() {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinite = std::numeric_limits<double>::infinity();
  const auto refused = [](const AugmentationOptions& options, int size = 28) {
    const Bytes image(1024);
    Bytes out(1024);
    try {
      augment(image.data(), size, nullptr, 1, options, 0, 0, out.data());
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  double AugmentationOptions::* const fields[] = {
      &AugmentationOptions::shift, &AugmentationOptions::rotation,      &AugmentationOptions::scale,
      &AugmentationOptions::shear, &AugmentationOptions::elastic_alpha, &AugmentationOptions::elastic_sigma};
  int accepted = 0;
  for (const auto field : fields) {
    for (const double wrong : {nan, infinite, -infinite, -1e-9, 1e300, 1001.0}) {
      AugmentationOptions options = kAll;
      options.*field = wrong;
      accepted += !refused(options);
    }
  }
  AugmentationOptions narrow = kAll;
  narrow.elastic_sigma = 0.99;
  accepted += !refused(narrow) + !refused(kAll, 27) + !refused(kAll, 0) + !refused(kAll, -28);
  check(accepted == 0, "options and sizes out of range are refused", "all", accepted, 0);
}

}  // namespace

int main() {
  set_num_threads(2);
  for (const InstructionSet set : supported_instruction_sets()) {
    for (const int size : {28, 32}) {
      test_resampling(set, size);
      test_reproducibility(set, size);
    }
    test_hostile_maps(set);
  }
  test_strengths();
  test_refusals();
  return finish();
}
