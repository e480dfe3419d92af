// What each instruction set's translation unit offers to the plain code that owns memory and threads.
#pragma once

#include "geometry.h"
#include "lenet5_kernels.h"

namespace lenet5::kernels {

// Scratch of one thread while it runs the convolutions of one image at a time; all of it stays in the first caches.
struct ConvolutionScratch {
  alignas(64) float c1_input[kCanvas][6][16];   // [row][column point][pair of conv columns]
  alignas(64) float s2[kC1][kS2][16];           // even columns in lanes 0..6, odd ones in 8..14
  alignas(64) float c3_rows[2][kC1][6][16];     // s2 after the vertical transform, this row of tiles and the next
  alignas(64) float c3_input[2][6][kC1][8];     // this row point and the next: [column point][channel][tile]
  alignas(64) float c3_outputs[2][2][kS4][16];  // so far: [row][column][tile][channel]
  alignas(64) float c3_point[2][kS4][16];       // the first row point of a pair: [column][tile][channel]
};

// What the backward pass of one image needs of its forward pass. A choice is 2 × row + column of the maximum in its
// window; s2's are in the order of ConvolutionScratch::s2, with a bit for each lane that ReLU let through.
struct ConvolutionTrace {
  alignas(64) float s2[kS2Size * kC1 + 24];  // [position][channel]
  alignas(64) uint8_t s2_choice[kC1][kS2][16];
  alignas(64) uint16_t s2_open[kC1][kS2];
  alignas(64) int32_t s4_choice[kFeatures];  // [position][channel]
};

// Weights of c3 as its backward pass reads them: [output channel][row tap + 1][column tap × 6 + input channel], between
// two rows of zeros.
struct WindowWeights {
  alignas(64) float c3[kC3][kTaps + 2][32];
};

// Sums over a thread's images, in the order the backward pass makes them; c1's are over raw pixels.
struct ConvolutionGradients {
  alignas(64) float c1[kC1][kTaps][8];  // [channel][row tap][column tap, three lanes unused]
  alignas(64) float c1_bias[16];
  alignas(64) float c3[kC3][kTaps][32];  // [output channel][row tap][column tap × 6 + input channel, two unused]
  alignas(64) float c3_bias[kC3];
};

struct BackwardScratch {
  alignas(64) float pixels[kCanvas * kCanvas + 64];
  alignas(64) float s2_gradient[kS2Size * kC1 + 64];  // [position][channel]
  alignas(64) float values[kS2Size + 32];             // a list of open outputs: their gradients …
  alignas(64) int32_t places[kS2Size + 32];           // … and where their patches begin
  alignas(64) float c3_values[kC3][48];               // the same for each output channel of c3
  alignas(64) int32_t c3_places[kC3][48];
};

// Displacements on a square grid of knots, for cubic B-splines to interpolate. Distances are in knots.
constexpr int kMaxKnots = 24;  // 31 pixels by the least spacing of √3 pixels, and two more at either end
struct Displacements {
  int knots;                      // along each axis; 0 for no displacements
  float inverse_spacing;          // knots a pixel
  float origin_x, origin_y;       // place of the first knot relative to the first pixel
  float x[kMaxKnots][kMaxKnots];  // [row][column], in pixels
  float y[kMaxKnots][kMaxKnots];
};

// Where an output pixel comes from: (xx x + xy y + x0, yx x + yy y + y0) and the displacement there.
struct Distortion {
  float xx, xy, x0, yx, yy, y0;
  Displacements displacements;
};

constexpr int kFrameStride = 40;
struct DistortionScratch {
  alignas(64) uint8_t frame[kCanvas + 3][kFrameStride];
  alignas(64) float weights_x[kMaxKnots][kCanvas], weights_y[kMaxKnots][kCanvas];  // [knot][pixel]
  alignas(64) float rows_x[kMaxKnots][kCanvas], rows_y[kMaxKnots][kCanvas];        // [row of knots][column of pixels]
  alignas(64) int32_t place[kCanvas][kCanvas];  // in the frame, of each output pixel's upper left neighbour …
  alignas(64) int32_t right[kCanvas][kCanvas], down[kCanvas][kCanvas];  // … and the way on from there, in 1/256 pixels
  alignas(64) uint8_t above[kCanvas][kCanvas][2], below[kCanvas][kCanvas][2];  // the four neighbours
};

// Adam's constants of one step, in single precision as torch.optim.Adam applies them.
struct AdamStep {
  float one_minus_beta1, beta2, one_minus_beta2, inverse_root_correction2, epsilon, step_size, weight_decay;
};

// Where the gradient of a piece of the packed parameters goes: into `gradients`, or, where that is null, through Adam.
struct Update {
  float* parameters;
  float* exp_avg;
  float* exp_avg_sq;
  float* gradients;
  AdamStep adam;
};

struct KernelTable {
  // Folds and transforms the convolutions' packed parameters.
  void (*prepare)(const float* packed, float mean, float std, ConvolutionWeights*);
  void (*prepare_windows)(const float* packed, WindowWeights*);  // into zeroed memory

  // One image to 400 features; `trace` may be null. False where a pixel is NaN or infinite.
  bool (*convolve)(const ConvolutionWeights&, const void* pixels, PixelType, int size, ConvolutionScratch&,
                   float* features, ConvolutionTrace* trace);

  // out[row][0 … outputs) = x[row][0 … inputs) · weights + bias, `bias` may be null; ReLU on request. Outputs are
  // rounded up to whole vectors, at most to whole panels.
  void (*dense)(const float* x, int64_t x_stride, int inputs, const float* weights, const float* bias, int outputs,
                float* out, int64_t out_stride, int64_t rows, bool relu);

  // Rows of logits to rows of log-probabilities or, unless `log`, probabilities, in place if wanted, and to labels
  // where `labels` is not null.
  void (*answer)(const float* logits, int64_t stride, int classes, int64_t rows, const Answers& answers);

  // d logits of the mean loss of a batch, padded lanes zero; adds to the sum of the losses and the count of right
  // answers. An image counts with its label's weight, or 1 where `weights` is null, and `total` is the batch's sum of
  // those: the mean is the sum divided by it. Where `total` is 0, so is every gradient.
  void (*loss)(float* logits, int64_t stride, int classes, const int32_t* labels, int64_t rows, double total,
               const float* weights, double* loss, int64_t* correct);

  // gradient[i] = 0 where activation[i] is not positive; n a multiple of 32.
  void (*close)(float* gradient, const float* activation, int64_t n);

  // [panels(outputs)][inputs][32] → [panels(inputs)][outputs][32], for output rows in panel `from` to `to` of the
  // result.
  void (*transpose)(const float* weights, int inputs, int outputs, float* transposed, int from, int to);

  // Adds one image's gradients of c1 and c3.
  void (*convolve_backward)(const WindowWeights&, const void* pixels, PixelType, int size, const ConvolutionTrace&,
                            const float* features, const float* features_gradient, BackwardScratch&,
                            ConvolutionGradients&);

  // Gradient of inputs `from` to `to` of one panel: Σ_rows x[row][input] × g[row][panel], passed to the update at
  // `offset`.
  void (*dense_update)(const float* x, int64_t x_stride, const float* g, int64_t g_stride, int64_t rows, int inputs,
                       int panel, int from, int to, int64_t offset, const Update&);
  // Σ_rows g[row][0 … n), passed to the update at `offset`; n a multiple of 32.
  void (*bias_update)(const float* g, int64_t g_stride, int64_t rows, int64_t n, int64_t offset, const Update&);
  // n given gradients, a multiple of 16, passed to the update at `offset`.
  void (*update)(const float* gradients, int64_t n, int64_t offset, const Update&);

  // One image of 28×28 or 32×32 through the map to `out`, bilinearly; what comes from outside the image is black. Any
  // map is safe, and every instruction set gives the same bytes.
  void (*distort)(const uint8_t* image, int size, const Distortion&, DistortionScratch&, uint8_t* out);
};

// The table of an instruction set, or of the best below it that the machine has.
const KernelTable& table(InstructionSet);

const KernelTable& baseline_table();
#if defined(__x86_64__)
const KernelTable& avx2_table();
const KernelTable& avx512_table();
#endif

}  // namespace lenet5::kernels
