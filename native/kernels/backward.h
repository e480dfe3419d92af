// The backward pass of the convolutions of one image.
//
// Problem: the backward convolutions are twice the forward ones, and the answer is mostly zero: pooling lets the
// gradient through at one position in four, ReLU closes many of those. Resolution: list what is open and visit only
// that. One pooled output touches a patch of 5×5 taps × 6 channels; with s2 as [position][channel] a row of that patch
// is 30 neighbouring floats.
//   weights of c3: for each output channel, sums over its open outputs, all 150 of them in registers
//   input of c3:   for each tile and each column of its window, sums over the channels open there, 6 rows of 30 in
//   registers weights of c1: for each channel, sums over its open outputs that saw more than black
#pragma once

#include "backward_c1.h"
#include "backward_c3.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

void convolve_backward(const WindowWeights& weights, const void* pixels, PixelType type, int size,
                       const ConvolutionTrace& trace, const float* features, const float* features_gradient,
                       BackwardScratch& scratch, ConvolutionGradients& sums) {
  c3_backward(weights, trace, features, features_gradient, scratch, sums);
  uint16_t seen[kS2];
  if (type == PixelType::uint8)
    read_pixels(static_cast<const uint8_t*>(pixels), size, scratch.pixels, seen);
  else
    read_pixels(static_cast<const float*>(pixels), size, scratch.pixels, seen);
  c1_weight_gradient(trace, seen, scratch, sums);
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
