// LeNet-5 and Adam written as plainly as they can be, in double precision: what the fused kernels must agree with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "lenet5_kernels.h"

struct NamedTensor {
  const char* name;
  int64_t size;
};

inline std::vector<NamedTensor> tensors(int classes) {
  return {{"c1.weight", 150},      {"c1.bias", 6},       {"c3.weight", 2400},
          {"c3.bias", 16},         {"c5.weight", 48000}, {"c5.bias", 120},
          {"f6.weight", 10080},    {"f6.bias", 84},      {"output.weight", int64_t{84} * classes},
          {"output.bias", classes}};
}

// PyTorch's default initialisation: uniform within 1/√fan-in.
inline std::vector<float> random_parameters(int classes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> parameters;
  const int fan_in[] = {25, 25, 150, 150, 400, 400, 120, 120, 84, 84};
  int layer = 0;
  for (const auto& tensor : tensors(classes)) {
    const float bound = 1 / std::sqrt(static_cast<float>(fan_in[layer++]));
    std::uniform_real_distribution<float> uniform(-bound, bound);
    for (int64_t i = 0; i < tensor.size; ++i) parameters.push_back(uniform(random));
  }
  return parameters;
}

inline std::vector<int32_t> random_labels(int64_t count, int classes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> labels(static_cast<size_t>(count));
  for (auto& label : labels) label = static_cast<int32_t>(random() % classes);
  return labels;
}

// Smooth strokes on a black ground rather than noise: large parts of a digit are exactly black, so that ties occur.
class RandomImages {
 public:
  RandomImages(int64_t count, int size, lenet5::kernels::PixelType type, uint64_t seed)
      : size_(size), type_(type), count_(count), bytes_(static_cast<size_t>(count * size * size)), random_(seed) {
    for (int64_t n = 0; n < count; ++n) draw(n);
  }

  // Draws image n afresh.
  void draw(int64_t n) {
    std::uniform_real_distribution<double> at(0.2 * size_, 0.8 * size_), width(1.0, 4.0);
    uint8_t* image = bytes_.data() + n * size_ * size_;
    std::fill_n(image, size_ * size_, uint8_t{0});
    for (int blob = 0; blob < 3; ++blob) {
      const double cx = at(random_), cy = at(random_), wx = width(random_), wy = width(random_);
      for (int y = 0; y < size_; ++y) {
        for (int x = 0; x < size_; ++x) {
          const double d = std::pow((x - cx) / wx, 2) + std::pow((y - cy) / wy, 2);
          if (d > 2) continue;
          uint8_t& p = image[y * size_ + x];
          p = static_cast<uint8_t>(std::max<double>(p, 255 - 100 * d - static_cast<double>(random_() % 40)));
        }
      }
    }
    floats_.resize(bytes_.size());
    for (int i = 0; i < size_ * size_; ++i) floats_[n * size_ * size_ + i] = static_cast<float>(image[i]) / 255;
  }

  lenet5::kernels::Images view() const {
    const bool is_bytes = type_ == lenet5::kernels::PixelType::uint8;
    return {is_bytes ? static_cast<const void*>(bytes_.data()) : floats_.data(), type_, size_, count_};
  }
  const uint8_t* bytes() const { return bytes_.data(); }

  // Image i in 0..1 on a black canvas of 32×32.
  std::vector<double> padded(int64_t i) const {
    std::vector<double> canvas(32 * 32);
    const int margin = (32 - size_) / 2;
    for (int y = 0; y < size_; ++y) {
      for (int x = 0; x < size_; ++x) {
        canvas[(y + margin) * 32 + x + margin] = bytes_[static_cast<size_t>((i * size_ + y) * size_ + x)] / 255.0;
      }
    }
    return canvas;
  }

 private:
  int size_;
  lenet5::kernels::PixelType type_;
  int64_t count_;
  std::vector<uint8_t> bytes_;
  std::vector<float> floats_;
  std::mt19937_64 random_;
};

// Convolution ('valid'), ReLU and 2×2 max pooling of `in_channels` maps of side `side`.
struct ReferenceLayer {
  int in_channels, out_channels, side;
  const double* weight;
  const double* bias;
  std::vector<double> input, output;  // output pooled
  std::vector<int> choice;            // position of each maximum in the map before pooling
  double margin = 1e300;              // the least by which ReLU or a maximum was decided; exact ties do not count

  void forward() {
    const int conv = side - 4, pooled = conv / 2;
    output.assign(static_cast<size_t>(out_channels * pooled * pooled), 0);
    choice.assign(output.size(), 0);
    for (int n = 0; n < out_channels; ++n) {
      for (int p = 0; p < pooled * pooled; ++p) {
        double best = -1e300, second = -1e300;
        for (int k = 0; k < 4; ++k) {
          const int y = 2 * (p / pooled) + k / 2, x = 2 * (p % pooled) + k % 2;
          double sum = bias[n];
          for (int c = 0; c < in_channels; ++c) {
            for (int t = 0; t < 25; ++t) {
              sum += weight[(n * in_channels + c) * 25 + t] * input[(c * side + y + t / 5) * side + x + t % 5];
            }
          }
          if (sum > best) {
            second = best;
            best = sum;
            choice[n * pooled * pooled + p] = y * conv + x;
          } else if (sum > second && best - sum > 1e-12) {
            second = sum;
          }
        }
        margin = std::min(margin, std::abs(best));
        if (best > 0 && best - second > 1e-12) margin = std::min(margin, best - second);
        output[n * pooled * pooled + p] = best > 0 ? best : 0;
      }
    }
  }

  std::vector<double> backward(const std::vector<double>& g, double* weight_gradient, double* bias_gradient) const {
    const int conv = side - 4, pooled = conv / 2;
    std::vector<double> input_gradient(input.size());
    for (int n = 0; n < out_channels; ++n) {
      for (int p = 0; p < pooled * pooled; ++p) {
        const int i = n * pooled * pooled + p;
        if (output[i] <= 0) continue;
        const int y = choice[i] / conv, x = choice[i] % conv;
        bias_gradient[n] += g[i];
        for (int c = 0; c < in_channels; ++c) {
          for (int t = 0; t < 25; ++t) {
            const int from = (c * side + y + t / 5) * side + x + t % 5, w = (n * in_channels + c) * 25 + t;
            weight_gradient[w] += g[i] * input[from];
            input_gradient[from] += g[i] * weight[w];
          }
        }
      }
    }
    return input_gradient;
  }
};

struct ReferenceNetwork {
  ReferenceLayer c1, c3;
  std::vector<double> c5, f6, log_probabilities;
  double margin = 1e300;
};

inline std::vector<double> reference_dense(const std::vector<double>& x, const double* w, int outputs, bool relu,
                                           double* margin) {
  const double* bias = w + static_cast<int64_t>(outputs) * x.size();
  std::vector<double> y(static_cast<size_t>(outputs));
  for (int n = 0; n < outputs; ++n) {
    y[n] = bias[n];
    for (size_t k = 0; k < x.size(); ++k) y[n] += w[n * x.size() + k] * x[k];
    if (relu) *margin = std::min(*margin, std::abs(y[n]));
    if (relu && y[n] < 0) y[n] = 0;
  }
  return y;
}

inline ReferenceNetwork reference_network(const std::vector<double>& p, int classes, std::vector<double> canvas,
                                          double mean, double std) {
  for (double& pixel : canvas) pixel = (pixel - mean) / std;
  ReferenceNetwork net;
  net.c1 = {1, 6, 32, p.data(), p.data() + 150, canvas, {}, {}, 1e300};
  net.c1.forward();
  net.c3 = {6, 16, 14, p.data() + 156, p.data() + 2556, net.c1.output, {}, {}, 1e300};
  net.c3.forward();
  net.c5 = reference_dense(net.c3.output, p.data() + 2572, 120, true, &net.margin);
  net.f6 = reference_dense(net.c5, p.data() + 50692, 84, true, &net.margin);
  net.log_probabilities = reference_dense(net.f6, p.data() + 60856, classes, false, &net.margin);
  net.margin = std::min({net.margin, net.c1.margin, net.c3.margin});
  double largest = net.log_probabilities[0], sum = 0;
  for (const double y : net.log_probabilities) largest = std::max(largest, y);
  for (const double y : net.log_probabilities) sum += std::exp(y - largest);
  for (double& y : net.log_probabilities) y -= largest + std::log(sum);
  return net;
}

inline void reference_forward(const std::vector<double>& p, int classes, const std::vector<double>& canvas, double mean,
                              double std, double* log_probabilities) {
  const auto net = reference_network(p, classes, canvas, mean, std);
  std::copy(net.log_probabilities.begin(), net.log_probabilities.end(), log_probabilities);
}

// Adds `scale` times the gradient of one image's loss, and returns that loss.
inline double reference_backward(const std::vector<double>& p, int classes, const std::vector<double>& canvas,
                                 double mean, double std, int label, double scale, std::vector<double>& gradients) {
  const auto net = reference_network(p, classes, canvas, mean, std);
  std::vector<double> g(static_cast<size_t>(classes));
  for (int n = 0; n < classes; ++n) g[n] = scale * (std::exp(net.log_probabilities[n]) - (n == label));
  const auto dense_backward = [&](const std::vector<double>& x, int64_t at, const std::vector<double>& up) {
    std::vector<double> down(x.size());
    for (size_t n = 0; n < up.size(); ++n) {
      gradients[at + up.size() * x.size() + n] += up[n];
      for (size_t k = 0; k < x.size(); ++k) {
        gradients[at + n * x.size() + k] += up[n] * x[k];
        if (x[k] > 0) down[k] += up[n] * p[at + n * x.size() + k];
      }
    }
    return down;
  };
  g = dense_backward(net.f6, 60856, g);
  g = dense_backward(net.c5, 50692, g);
  g = dense_backward(net.c3.output, 2572, g);
  g = net.c3.backward(g, &gradients[156], &gradients[2556]);
  net.c1.backward(g, &gradients[0], &gradients[150]);
  return -net.log_probabilities[label];
}

struct ReferenceAdam {
  std::vector<double> m, v;
  int64_t steps = 0;

  explicit ReferenceAdam(size_t size) : m(size), v(size) {}

  void step(std::vector<double>& p, const std::vector<double>& g, const lenet5::kernels::AdamOptions& o) {
    ++steps;
    const double correction1 = 1 - std::pow(o.beta1, steps), correction2 = 1 - std::pow(o.beta2, steps);
    for (size_t i = 0; i < p.size(); ++i) {
      const double gradient = g[i] + o.weight_decay * p[i];
      m[i] = o.beta1 * m[i] + (1 - o.beta1) * gradient;
      v[i] = o.beta2 * v[i] + (1 - o.beta2) * gradient * gradient;
      p[i] -= o.learning_rate / correction1 * m[i] / (std::sqrt(v[i]) / std::sqrt(correction2) + o.epsilon);
    }
  }
};
