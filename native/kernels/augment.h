// Random distortions of training images: shift, rotation, scale, shear and elastic distortion in one resampling.
//
// Problem: a distortion drawn from a generator's running state depends on how many images came before it, on the thread
// that met the image and on what a checkpoint remembers. Resolution: the random numbers of an image are a function of
// (seed, stream, image) alone, where a trainer passes the epoch as the stream. Batches may be cut, shuffled, resumed or
// shared between threads at will.
//
// One bilinear resampling through the inverse map, so that an image is blurred once however many distortions there are;
// what comes from outside the image is black. All arithmetic on pixels is in integers, and that on coordinates in
// single precision without contraction to fused multiply-adds, so that every instruction set gives the same bytes.
#pragma once

#include <cstdint>

#include "lenet5_kernels.h"

namespace lenet5::kernels {

// Strengths: each image draws its own distortion uniformly between minus and plus each of them.
struct AugmentationOptions {
  double shift;     // pixels along each axis, 0 … 32
  double rotation;  // degrees about the image's centre, 0 … 180
  double scale;     // each axis is stretched by a factor of its own within 1 ± scale, 0 … 0.9
  double shear;     // degrees, horizontal, 0 … 60
  // Elastic distortion after Simard, Steinkraus and Platt (2003), in their parameters: every pixel's displacement is
  // white noise, uniform in ±1, smoothed by a Gaussian of standard deviation elastic_sigma and multiplied by
  // elastic_alpha. Such a displacement has the standard deviation alpha / (2 sigma √(3π)) along each axis, 1.4 pixels
  // for the paper's alpha of 34 and sigma of 4, and the correlation length √2 sigma.
  //
  // What is computed has that standard deviation and, very nearly, that correlation, at a hundredth of the cost: noise
  // on a coarse grid, interpolated by cubic B-splines. A cubic B-spline over knots h apart is close to a Gaussian of
  // standard deviation h / √3, so the grid's spacing is √3 sigma. The grid's origin is drawn for each image, so that no
  // pixel is nearer to a knot than another.
  double elastic_alpha;  // pixels, 0 … 1000; 0 for none
  double elastic_sigma;  // pixels, 1 … 32; without meaning where alpha is 0
};

// Throws std::invalid_argument, naming the option, where one is outside its range or not a number.
void check_augmentation(const AugmentationOptions& options);

// Writes the distorted images indices[0], indices[1], … (or 0, 1, …, where `indices` is null) of a uint8 set of size ×
// size images, 28 or 32, one after another to `out`, on the pool. Throws std::invalid_argument for options or a size
// that check_augmentation or this comment rules out. The indices are the caller's to check.
void augment(const uint8_t* images, int size, const int64_t* indices, int64_t count, const AugmentationOptions& options,
             uint64_t seed, uint64_t stream, uint8_t* out, InstructionSet set = best_instruction_set());

}  // namespace lenet5::kernels
