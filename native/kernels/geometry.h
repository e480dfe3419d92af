// The one geometry of LeNet-5 and the packed layout of its parameters, shared by every instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lenet5::kernels {

constexpr int kTaps = 5;     // every convolution is 5×5
constexpr int kCanvas = 32;  // side of the padded image
constexpr int kC1 = 6, kC3 = 16, kC5 = 120, kF6 = 84;
constexpr int kS2 = 14, kS4 = 5;          // sides of the pooled maps
constexpr int kS2Size = kS2 * kS2;        // positions in a map of s2
constexpr int kS4Size = kS4 * kS4;        // positions in a map of s4
constexpr int kFeatures = kS4Size * kC3;  // 400 inputs of c5, ordered [position][channel]

// Dense layers are packed in panels of 32 outputs: [panel][input][32]. Outputs beyond the layer's own are zero and stay
// zero under Adam, because their gradient is zero.
constexpr int kPanel = 32;
constexpr int panels(int64_t outputs) { return static_cast<int>((outputs + kPanel - 1) / kPanel); }
constexpr int kC5Padded = panels(kC5) * kPanel;              // 128
constexpr int kF6Padded = panels(kF6) * kPanel;              // 96
constexpr int kFeaturesPadded = panels(kFeatures) * kPanel;  // 416

// Offsets, in floats, into one packed buffer of parameters (and of each of Adam's moments). Every section is a multiple
// of 16 floats, so that all of them start on a cache line.
struct Layout {
  static constexpr int64_t c1_weight = 0;                                         // [6][25]
  static constexpr int64_t c1_bias = c1_weight + 160;                             // [6]
  static constexpr int64_t c3_weight = c1_bias + 16;                              // [6 in][25][16 out]
  static constexpr int64_t c3_bias = c3_weight + kC1 * kTaps * kTaps * kC3;       // [16]
  static constexpr int64_t c5_weight = c3_bias + 16;                              // [4][400][32]
  static constexpr int64_t c5_bias = c5_weight + int64_t{kFeatures} * kC5Padded;  // [128]
  static constexpr int64_t f6_weight = c5_bias + kC5Padded;                       // [3][120][32]
  static constexpr int64_t f6_bias = f6_weight + int64_t{kC5} * kF6Padded;        // [96]
  static constexpr int64_t output_weight = f6_bias + kF6Padded;                   // [panels][84][32]
  static constexpr int64_t convolutions = c5_weight;                              // floats of c1 and c3

  int classes;
  int output_panels;
  int64_t output_bias;
  int64_t size;

  explicit constexpr Layout(int class_count)
      : classes(class_count),
        output_panels(panels(class_count)),
        output_bias(output_weight + int64_t{kF6} * panels(class_count) * kPanel),
        size(output_bias + int64_t{panels(class_count)} * kPanel) {}

  int padded_classes() const { return output_panels * kPanel; }
};

// What the convolutions read instead of the parameters themselves: normalisation folded into c1, and both kernels in
// Winograd's domain (see winograd.h). c1's is kept for pixels in 0..1 and for bytes.
struct ConvolutionWeights {
  alignas(64) float c1_float[kC1][kTaps][6];  // [channel][row tap][column point]
  alignas(64) float c1_bytes[kC1][kTaps][6];
  alignas(64) float c1_bias[16];
  alignas(64) float c3[6][kC1][6][kC3];  // [row point][input channel][column point][output channel]
  alignas(64) float c3_bias[kC3];
};

}  // namespace lenet5::kernels
