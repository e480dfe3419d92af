// The dense layers c5 (its kernel covers its whole input), f6 and output, forward and backward, and log-softmax.
//
// Weights lie in panels of 32 outputs; a block of rows (images) shares each panel, so that a weight is loaded once for
// several images and enough sums are under way to hide the latency of a multiply-add.
#pragma once

#include "adam.h"
#include "kernel_table.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

// Rows × Vectors sums over neighbouring columns that start `column` floats into the first panel.
template <int Rows, int Panels, int Vectors>
LENET5_INLINE void dense_block(const float* x, int64_t x_stride, int inputs, const float* weights, const float* bias,
                               int column, float* out, int64_t out_stride, bool relu) {
  Vector sum[Rows][Panels][Vectors];
  LENET5_UNROLL
  for (int p = 0; p < Panels; ++p) {
    LENET5_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const Vector start = bias ? load(bias + p * kPanel + column + v * kWidth) : zero();
      LENET5_UNROLL
      for (int r = 0; r < Rows; ++r) sum[r][p][v] = start;
    }
  }
  const int64_t panel_size = int64_t{inputs} * kPanel;
  const float* w = weights + column;
#pragma GCC unroll 1
  for (int k = 0; k < inputs; ++k, w += kPanel) {
    LENET5_UNROLL
    for (int p = 0; p < Panels; ++p) {
      Vector weight[Vectors];
      LENET5_UNROLL
      for (int v = 0; v < Vectors; ++v) weight[v] = load(w + p * panel_size + v * kWidth);
      LENET5_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const Vector input = all(x[r * x_stride + k]);
        LENET5_UNROLL
        for (int v = 0; v < Vectors; ++v) sum[r][p][v] = fma(input, weight[v], sum[r][p][v]);
      }
    }
  }
  LENET5_UNROLL
  for (int r = 0; r < Rows; ++r) {
    LENET5_UNROLL
    for (int p = 0; p < Panels; ++p) {
      LENET5_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        const Vector y = relu ? larger(zero(), sum[r][p][v]) : sum[r][p][v];
        store(out + r * out_stride + p * kPanel + column + v * kWidth, y);
      }
    }
  }
}

template <int Rows>
void dense_rows(const float* x, int64_t x_stride, int inputs, const float* weights, const float* bias, int panels,
                float* out, int64_t out_stride, bool relu) {
  // One row alone needs several panels at once to have enough sums under way.
  constexpr int vectors = 2;
  int panel = 0;
  const int64_t panel_size = int64_t{inputs} * kPanel;
  if constexpr (Rows == 1 && kWidth == 16) {
    for (; panel + 4 <= panels; panel += 4) {
      dense_block<1, 4, vectors>(x, x_stride, inputs, weights + panel * panel_size,
                                 bias ? bias + panel * kPanel : nullptr, 0, out + panel * kPanel, out_stride, relu);
    }
    for (; panel + 3 <= panels; panel += 3) {
      dense_block<1, 3, vectors>(x, x_stride, inputs, weights + panel * panel_size,
                                 bias ? bias + panel * kPanel : nullptr, 0, out + panel * kPanel, out_stride, relu);
    }
  }
  constexpr int wide = Rows == 1 ? kPanel / kWidth : vectors;
  for (; panel < panels; ++panel) {
    for (int column = 0; column < kPanel; column += wide * kWidth) {
      dense_block<Rows, 1, wide>(x, x_stride, inputs, weights + panel * panel_size,
                                 bias ? bias + panel * kPanel : nullptr, column, out + panel * kPanel, out_stride, relu);
    }
  }
}

void dense(const float* x, int64_t x_stride, int inputs, const float* weights, const float* bias, int panels, float* out,
           int64_t out_stride, int64_t rows, bool relu) {
  constexpr int block = kManyRegisters ? 12 : 6;
  int64_t r = 0;
  for (; r + block <= rows; r += block) {
    dense_rows<block>(x + r * x_stride, x_stride, inputs, weights, bias, panels, out + r * out_stride, out_stride, relu);
  }
  for (; r + 4 <= rows; r += 4) {
    dense_rows<4>(x + r * x_stride, x_stride, inputs, weights, bias, panels, out + r * out_stride, out_stride, relu);
  }
  for (; r + 2 <= rows; r += 2) {
    dense_rows<2>(x + r * x_stride, x_stride, inputs, weights, bias, panels, out + r * out_stride, out_stride, relu);
  }
  for (; r < rows; ++r) {
    dense_rows<1>(x + r * x_stride, x_stride, inputs, weights, bias, panels, out + r * out_stride, out_stride, relu);
  }
}

void close(float* gradient, const float* activation, int64_t n) {
  for (int64_t i = 0; i < n; i += kWidth) {
    store(gradient + i, where_positive(load(activation + i), load(gradient + i)));
  }
}

void transpose(const float* weights, int inputs, int outputs, float* transposed, int from, int to) {
  for (int panel = from; panel < to; ++panel) {
    float* out = transposed + int64_t{panel} * outputs * kPanel;
    const int width = inputs - panel * kPanel < kPanel ? inputs - panel * kPanel : kPanel;
    for (int n = 0; n < outputs; ++n) {
      const float* column = weights + (int64_t{n / kPanel} * inputs + panel * kPanel) * kPanel + n % kPanel;
      for (int k = 0; k < width; ++k) out[n * kPanel + k] = column[k * kPanel];
    }
  }
}

// Reads up to a vector of n floats; the lanes beyond hold `filler`.
LENET5_INLINE Vector load_some(const float* p, int n, float filler) {
  if (n >= kWidth) return load(p);
  Vector v = all(filler);
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
LENET5_INLINE void store_some(float* p, int n, Vector v) {
  if (n >= kWidth) return store(p, v);
  for (int i = 0; i < n; ++i) p[i] = v[i];
}

// log Σ exp of a row, with the largest logit taken out first.
LENET5_INLINE float log_sum(const float* logits, int classes) {
  const float lowest = -__builtin_inff();
  Vector top = load_some(logits, classes, lowest);
  for (int i = kWidth; i < classes; i += kWidth) top = larger(top, load_some(logits + i, classes - i, lowest));
  const float largest = largest_lane(top);
  Vector sum = zero();
  for (int i = 0; i < classes; i += kWidth) {
    const Vector e = exponential(load_some(logits + i, classes - i, lowest) - all(largest));
    if (classes - i >= kWidth) {
      sum += e;
    } else {
      for (int k = 0; k < classes - i; ++k) sum[k] += e[k];
    }
  }
  return largest + __builtin_logf(sum_lanes(sum));
}

void log_softmax(const float* logits, int64_t stride, int classes, float* out, int64_t out_stride, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = logits + r * stride;
    const Vector shift = all(log_sum(row, classes));
    for (int i = 0; i < classes; i += kWidth) {
      store_some(out + r * out_stride + i, classes - i, load_some(row + i, classes - i, 0) - shift);
    }
  }
}

void loss(float* logits, int64_t stride, int classes, const int32_t* labels, int64_t rows, int64_t batch, double* loss,
          int64_t* correct) {
  const float scale = 1.0f / static_cast<float>(batch);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = logits + r * stride;
    const float sum = log_sum(row, classes);
    const int label = labels[r];
    *loss += static_cast<double>(sum) - static_cast<double>(row[label]);
    int best = 0;
    for (int i = 1; i < classes; ++i) best = row[i] > row[best] ? i : best;
    *correct += best == label;
    for (int i = 0; i < classes; i += kWidth) {
      store_some(row + i, classes - i, exponential(load_some(row + i, classes - i, 0) - all(sum)) * all(scale));
    }
    row[label] -= scale;
    for (int i = classes; i < stride; ++i) row[i] = 0;
  }
}

// Rows × 32 sums over the batch, held in registers, and straight on to the optimiser: a gradient of the dense layers is
// never written to memory in training.
template <int Inputs>
LENET5_INLINE void update_block(const float* x, int64_t x_stride, const float* g, int64_t g_stride, int64_t rows,
                                int64_t offset, const Update& update) {
  constexpr int vectors = 2;
  for (int column = 0; column < kPanel; column += vectors * kWidth) {
    Vector sum[Inputs][vectors];
    LENET5_UNROLL
    for (int k = 0; k < Inputs; ++k) {
      LENET5_UNROLL
      for (int v = 0; v < vectors; ++v) sum[k][v] = zero();
    }
#pragma GCC unroll 1
    for (int64_t r = 0; r < rows; ++r) {
      Vector gradient[vectors];
      LENET5_UNROLL
      for (int v = 0; v < vectors; ++v) gradient[v] = load(g + r * g_stride + column + v * kWidth);
      LENET5_UNROLL
      for (int k = 0; k < Inputs; ++k) {
        const Vector input = all(x[r * x_stride + k]);
        LENET5_UNROLL
        for (int v = 0; v < vectors; ++v) sum[k][v] = fma(input, gradient[v], sum[k][v]);
      }
    }
    LENET5_UNROLL
    for (int k = 0; k < Inputs; ++k) {
      LENET5_UNROLL
      for (int v = 0; v < vectors; ++v) apply(update, offset + k * kPanel + column + v * kWidth, sum[k][v]);
    }
  }
}

void dense_update(const float* x, int64_t x_stride, const float* g, int64_t g_stride, int64_t rows, int inputs, int panel,
                  int from, int to, int64_t offset, const Update& update) {
  constexpr int block = kManyRegisters ? 12 : 6;
  g += panel * kPanel;
  offset += int64_t{panel} * inputs * kPanel;
  int k = from;
  for (; k + block <= to; k += block) {
    update_block<block>(x + k, x_stride, g, g_stride, rows, offset + int64_t{k} * kPanel, update);
  }
  for (; k + 4 <= to; k += 4) {
    update_block<4>(x + k, x_stride, g, g_stride, rows, offset + int64_t{k} * kPanel, update);
  }
  for (; k < to; ++k) update_block<1>(x + k, x_stride, g, g_stride, rows, offset + int64_t{k} * kPanel, update);
}

void bias_update(const float* g, int64_t g_stride, int64_t rows, int64_t n, int64_t offset, const Update& update) {
  for (int64_t i = 0; i < n; i += kWidth) {
    Vector sum = zero();
    for (int64_t r = 0; r < rows; ++r) sum += load(g + r * g_stride + i);
    apply(update, offset + i, sum);
  }
}

}  // namespace
}  // namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE
