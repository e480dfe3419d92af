// Adam's update of one vector of parameters, as torch.optim.Adam applies it (weight decay as L2, denominator
// √v / √(1 - β₂ᵗ) + ε, step size lr / (1 - β₁ᵗ)): https://pytorch.org/docs/stable/generated/torch.optim.Adam.html
#pragma once

#include "kernel_table.h"
#include "simd.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

LENET5_INLINE void apply(const Update& to, int64_t at, Vector gradient) {
  if (to.gradients) return store(to.gradients + at, gradient);
  const AdamStep& adam = to.adam;
  const Vector parameter = load(to.parameters + at);
  Vector m = load(to.exp_avg + at), v = load(to.exp_avg_sq + at);
  gradient = fma(all(adam.weight_decay), parameter, gradient);
  m = fma(all(adam.one_minus_beta1), gradient - m, m);
  v = fma(all(adam.one_minus_beta2), gradient * gradient, all(adam.beta2) * v);
  const Vector denominator = fma(square_root(v), all(adam.inverse_root_correction2), all(adam.epsilon));
  store(to.exp_avg + at, m);
  store(to.exp_avg_sq + at, v);
  store(to.parameters + at, fma(all(-adam.step_size), m / denominator, parameter));
}

void update(const float* gradients, int64_t n, int64_t offset, const Update& to) {
  for (int64_t i = 0; i < n; i += kWidth) apply(to, offset + i, load(gradients + i));
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
