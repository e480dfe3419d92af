// The dense layers c5 (its kernel covers its whole input), f6 and output, forward and backward, and log-softmax.
//
// Weights lie in panels of 32 outputs; a block of rows (images) shares each panel, so that a weight is loaded once for
// several images and enough sums are under way to hide the latency of a multiply-add.
#pragma once

#include "adam.h"
#include "kernel_table.h"

namespace lenet5::kernels::LENET5_INSTRUCTION_SET_NAMESPACE {
namespace {

template <int N>
struct Count {
  static constexpr int value = N;
};

// Rows × Vectors sums over neighbouring outputs from `column` of a panel on.
template <int Rows, int Vectors>
LENET5_INLINE void dense_block(const float* x, int64_t x_stride, int inputs, const float* weights, const float* bias,
                               int column, float* out, int64_t out_stride, bool relu) {
  Vector sum[Rows][Vectors];
  LENET5_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    const Vector start = bias ? load(bias + column + v * kWidth) : zero();
    LENET5_UNROLL
    for (int r = 0; r < Rows; ++r) sum[r][v] = start;
  }
  const float* w = weights + column;
#pragma GCC unroll 1
  for (int k = 0; k < inputs; ++k, w += kPanel) {
    Vector weight[Vectors];
    LENET5_UNROLL
    for (int v = 0; v < Vectors; ++v) weight[v] = load(w + v * kWidth);
    LENET5_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const Vector input = all(x[r * x_stride + k]);
      LENET5_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[r][v] = fma(input, weight[v], sum[r][v]);
    }
  }
  LENET5_UNROLL
  for (int r = 0; r < Rows; ++r) {
    LENET5_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      store(out + r * out_stride + column + v * kWidth, relu ? larger(zero(), sum[r][v]) : sum[r][v]);
    }
  }
}

#if defined(__AVX512F__)
// The same with one vector and half of a second, whose other half becomes zero.
template <int Rows>
LENET5_INLINE void dense_block_and_half(const float* x, int64_t x_stride, int inputs, const float* weights,
                                        const float* bias, int column, float* out, int64_t out_stride, bool relu) {
  Vector sum[Rows];
  HalfVector half[Rows];
  LENET5_UNROLL
  for (int r = 0; r < Rows; ++r) {
    sum[r] = bias ? load(bias + column) : zero();
    half[r] = bias ? load_half(bias + column + kWidth) : HalfVector{};
  }
  const float* w = weights + column;
#pragma GCC unroll 1
  for (int k = 0; k < inputs; ++k, w += kPanel) {
    const Vector weight = load(w);
    const HalfVector rest = load_half(w + kWidth);
    LENET5_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const float input = x[r * x_stride + k];
      sum[r] = fma(all(input), weight, sum[r]);
      half[r] = fma(rest, input, half[r]);
    }
  }
  LENET5_UNROLL
  for (int r = 0; r < Rows; ++r) {
    float* to = out + r * out_stride + column;
    const Vector second = widened(half[r]);
    store(to, relu ? larger(zero(), sum[r]) : sum[r]);
    store(to + kWidth, relu ? larger(zero(), second) : second);
  }
}
#endif

// Four vectors of sums for one row, over the inputs listed only: with a single image the time is that of reading the
// weights, and after ReLU about half the inputs are zero and their weights need not be read.
template <int Vectors>
LENET5_INLINE void dense_listed(const float* values, const int32_t* inputs, int count, const float* weights,
                                const float* bias, float* out, bool relu) {
  Vector sum[2][Vectors];
  LENET5_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    sum[0][v] = bias ? load(bias + v * kWidth) : zero();
    sum[1][v] = zero();
  }
  int i = 0;
#pragma GCC unroll 1
  for (; i + 2 <= count; i += 2) {
    LENET5_UNROLL
    for (int k = 0; k < 2; ++k) {
      const float* w = weights + inputs[i + k] * kPanel;
      LENET5_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[k][v] = fma(all(values[i + k]), load(w + v * kWidth), sum[k][v]);
    }
  }
  if (i < count) {
    const float* w = weights + inputs[i] * kPanel;
    LENET5_UNROLL
    for (int v = 0; v < Vectors; ++v) sum[0][v] = fma(all(values[i]), load(w + v * kWidth), sum[0][v]);
  }
  LENET5_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    const Vector y = sum[0][v] + sum[1][v];
    store(out + v * kWidth, relu ? larger(zero(), y) : y);
  }
}

void dense_single(const float* x, int inputs, const float* weights, const float* bias, int panels, float* out,
                  bool relu) {
  constexpr int most = kFeatures;
  constexpr int vectors = kPanel / kWidth < 4 ? kPanel / kWidth : 4;
  alignas(64) float values[most + 16];
  alignas(64) int32_t list[most + 16];
  for (int from = 0; from < inputs; from += most) {
    const int to = inputs - from < most ? inputs - from : most;
    const int count = list_nonzero(x + from, to, values, list);
    for (int panel = 0; panel < panels; ++panel) {
      for (int column = 0; column < kPanel; column += vectors * kWidth) {
        // A second round over the same outputs starts from the first one's sums.
        float* to_out = out + panel * kPanel + column;
        const float* start = from ? to_out : bias ? bias + panel * kPanel + column : nullptr;
        dense_listed<vectors>(values, list, count, weights + (int64_t{panel} * inputs + from) * kPanel + column, start,
                              to_out, relu && from + to == inputs);
      }
    }
  }
}

template <int Rows>
void dense_rows(const float* x, int64_t x_stride, int inputs, const float* weights, const float* bias, int outputs,
                float* out, int64_t out_stride, bool relu) {
  for (int column = 0; column < outputs; column += 2 * kWidth) {
    const int panel = column / kPanel, within = column % kPanel;
    const float* w = weights + int64_t{panel} * inputs * kPanel;
    const float* start = bias ? bias + panel * kPanel : nullptr;
    float* to = out + panel * kPanel;
    if (kWidth == 16 && outputs - column <= kWidth) {
      dense_block<Rows, 1>(x, x_stride, inputs, w, start, within, to, out_stride, relu);
#if defined(__AVX512F__)
    } else if (outputs - column <= kWidth + kWidth / 2) {
      dense_block_and_half<Rows>(x, x_stride, inputs, w, start, within, to, out_stride, relu);
#endif
    } else {
      dense_block<Rows, 2>(x, x_stride, inputs, w, start, within, to, out_stride, relu);
    }
  }
}

void dense(const float* x, int64_t x_stride, int inputs, const float* weights, const float* bias, int outputs,
           float* out, int64_t out_stride, int64_t rows, bool relu) {
  constexpr int block = kManyRegisters ? 12 : 6;
  int64_t r = 0;
  const auto take = [&](auto rows_in_block) {
    constexpr int n = decltype(rows_in_block)::value;
    for (; r + n <= rows; r += n) {
      dense_rows<n>(x + r * x_stride, x_stride, inputs, weights, bias, outputs, out + r * out_stride, out_stride, relu);
    }
  };
  take(Count<block>{});
  take(Count<4>{});
  take(Count<2>{});
  for (; r < rows; ++r) {
    dense_single(x + r * x_stride, inputs, weights, bias, (outputs + kPanel - 1) / kPanel, out + r * out_stride, relu);
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
    for (int n = 0; n < outputs; n += 16) {
      const int height = outputs - n < 16 ? outputs - n : 16;
      const float* column = weights + (int64_t{n / kPanel} * inputs + panel * kPanel) * kPanel + n % kPanel;
      for (int k = 0; k < width; k += 16) {
        if (height == 16 && width - k >= 16) {
          transpose_block(column + k * kPanel, kPanel, out + n * kPanel + k, kPanel);
          continue;
        }
        for (int i = 0; i < height; ++i) {
          for (int j = k; j < width && j < k + 16; ++j) out[(n + i) * kPanel + j] = column[j * kPanel + i];
        }
      }
    }
  }
}

// log Σ exp of a row, with the largest logit, which it tells, taken out first.
LENET5_INLINE float log_sum(const float* logits, int classes, float* top_logit = nullptr) {
  const float lowest = -__builtin_inff();
  Vector top = load_some(logits, classes, lowest);
  for (int i = kWidth; i < classes; i += kWidth) top = larger(top, load_some(logits + i, classes - i, lowest));
  const float largest = largest_lane(top);
  if (top_logit) *top_logit = largest;
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

void answer(const float* logits, int64_t stride, int classes, int64_t rows, const Answers& answers) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = logits + r * stride;
    float* out = answers.scores + r * classes;
    float largest;
    const float sum = log_sum(row, classes, &largest);
    const Vector shift = all(sum), top = all(largest) - shift;
    int label = -1;
    for (int i = 0; i < classes; i += kWidth) {
      const int n = classes - i;
      const Vector y = load_some(row + i, n, 0) - shift;
      if (answers.labels && label < 0) {
        // By what is answered, not by the logits: of two that the subtraction made equal it is the first.
        const unsigned found = equal_lanes(y, top) & (n < kWidth ? (1u << n) - 1 : ~0u);
        if (found) label = i + __builtin_ctz(found);
      }
      store_some(out + i, n, answers.log ? y : choose(y < all(kLeastExponent), zero(), exponential(y)));
    }
    // Without a match, none is a number.
    if (answers.labels) answers.labels[r] = label < 0 ? 0 : label;
  }
}

void loss(float* logits, int64_t stride, int classes, const int32_t* labels, int64_t rows, double total,
          const float* weights, double* loss, int64_t* correct) {
  const float even = 1.0f / static_cast<float>(total);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = logits + r * stride;
    const float sum = log_sum(row, classes);
    const int label = labels[r];
    double weight = 1;
    float scale = even;
    if (weights) {
      weight = static_cast<double>(weights[label]);
      scale = total > 0 ? static_cast<float>(weight / total) : 0;
    }
    *loss += weight * (static_cast<double>(sum) - static_cast<double>(row[label]));
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

void dense_update(const float* x, int64_t x_stride, const float* g, int64_t g_stride, int64_t rows, int inputs,
                  int panel, int from, int to, int64_t offset, const Update& update) {
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
