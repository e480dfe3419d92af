// Images per second of the fused kernels, and their share of the machine's fused-multiply-add peak measured in the same
// run (a forward pass counts 416,520 multiply-adds an image for ten classes, however few the kernels need for it).
//   cmake -S native/kernels/bench -B build/kernels-bench && cmake --build build/kernels-bench
//   build/kernels-bench/kernels_bench [rounds]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "augment.h"
#include "lenet5_kernels.h"

using namespace lenet5::kernels;
using Clock = std::chrono::steady_clock;

namespace {

constexpr double kMultiplyAdds = 416520;
constexpr AugmentationOptions kDistortions = {2, 10, 0.1, 10, 30, 4};  // every kind: the cost depends on sigma alone

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Multiply-adds a second of one thread with the widest vectors there are; 0 where it cannot be measured.
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) double peak_8() {
  __m256 a[12];
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) a[i] = y;
  const auto begin = Clock::now();
  constexpr int rounds = 400000;
  for (int k = 0; k < rounds; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) asm volatile("vfmadd213ps %2, %1, %0" : "+x"(a[i]) : "x"(x), "x"(y));
  }
  const double seconds = seconds_since(begin);
  volatile float sink = 0;
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) sink = sink + a[i][0];
  return 12.0 * 8 * rounds / seconds;
}
__attribute__((target("avx512f"))) double peak_16() {
  __m512 a[12];
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) a[i] = y;
  const auto begin = Clock::now();
  constexpr int rounds = 400000;
  for (int k = 0; k < rounds; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) asm volatile("vfmadd213ps %2, %1, %0" : "+v"(a[i]) : "v"(x), "v"(y));
  }
  const double seconds = seconds_since(begin);
  volatile float sink = 0;
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) sink = sink + a[i][0];
  return 12.0 * 16 * rounds / seconds;
}
double peak_once() {
  double best = 0;
  if (__builtin_cpu_supports("fma")) best = peak_8();
  if (__builtin_cpu_supports("avx512f")) best = std::max(best, peak_16());
  return best;
}
#else
double peak_once() { return 0; }
#endif

double peak(int threads) {
  std::vector<double> rates(static_cast<size_t>(threads));
  std::vector<std::thread> pool;
  for (auto& rate : rates) pool.emplace_back([&rate] { rate = peak_once(); });
  double sum = 0;
  for (size_t i = 0; i < rates.size(); ++i) {
    pool[i].join();
    sum += rates[i];
  }
  return sum;
}

struct Measure {
  const char* what;
  InstructionSet set;
  int threads;
  int64_t batch;
  bool forward, augment, train;
  double best = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 10;
  constexpr int64_t images = 1024;
  std::mt19937 random(1);
  std::vector<uint8_t> pixels(images * 784);
  // Blots on black, about as much of them as in MNIST: a fifth of the pixels.
  for (int64_t n = 0; n < images; ++n) {
    const int y0 = 4 + random() % 8, x0 = 4 + random() % 8;
    for (int y = y0; y < y0 + 12; ++y) {
      for (int x = x0; x < x0 + 13; ++x) pixels[(n * 28 + y) * 28 + x] = static_cast<uint8_t>(random());
    }
  }
  std::vector<int32_t> labels(images);
  std::vector<int64_t> order(images);
  for (int64_t i = 0; i < images; ++i) {
    labels[i] = random() % 10;
    order[i] = random() % images;
  }
  std::vector<float> parameters(parameter_count(10));
  for (auto& p : parameters) p = std::uniform_real_distribution<float>(-0.06f, 0.06f)(random);

  std::vector<Measure> measures;
  for (const InstructionSet set : supported_instruction_sets()) {
    for (const int threads : {1, 2}) {
      for (const int64_t batch : {1, 32, 256, 1024}) {
        measures.push_back({"forward", set, threads, batch, true, false, false});
      }
      measures.push_back({"training", set, threads, 64, false, false, true});
      measures.push_back({"augmentation", set, threads, 64, false, true, false});
      measures.push_back({"training on augmented images", set, threads, 64, false, true, true});
    }
  }
  double peaks[3] = {};
  std::vector<float> out(images * 10);
  std::vector<int32_t> labels_out(images);
  std::vector<uint8_t> distorted(64 * 784);
  for (int round = 0; round < rounds; ++round) {
    for (const int threads : {1, 2}) peaks[threads] = std::max(peaks[threads], peak(threads));
    for (auto& m : measures) {
      set_num_threads(m.threads);
      const Forward forward(parameters.data(), 10, 0.1307f, 0.3081f, m.set);
      Trainer trainer(10, 0.1307f, 0.3081f, m.set);
      trainer.import_state(parameters.data(), nullptr, nullptr, 0);
      const auto once = [&](int64_t i) {
        const int64_t at = i * m.batch % images;
        if (m.forward)
          forward.run({pixels.data() + at * 784, PixelType::uint8, 28, m.batch},
                      {out.data(), labels_out.data(), false});
        if (m.augment) {
          augment(pixels.data(), 28, order.data() + at, m.batch, kDistortions, 1, static_cast<uint64_t>(i),
                  distorted.data(), m.set);
        }
        if (m.train) {
          trainer.step(m.augment ? distorted.data() : pixels.data(), 28, labels.data(),
                       m.augment ? nullptr : order.data() + at, m.batch, {1e-3, 0.9, 0.999, 1e-8, 0});
        }
      };
      once(0);
      // Short windows, best of many: on a machine that others use too, the best is what is reproducible.
      for (int window = 0; window < 10; ++window) {
        const auto begin = Clock::now();
        int64_t done = 0;
        do once(done++);
        while (seconds_since(begin) < 0.003);
        m.best = std::max(m.best, static_cast<double>(done * m.batch) / seconds_since(begin));
      }
    }
  }
  for (const int threads : {1, 2}) {
    std::printf("fused multiply-add peak, %d thread(s): %.1f G/s = %.0f images/s forward\n", threads,
                peaks[threads] / 1e9, peaks[threads] / kMultiplyAdds);
  }
  for (const auto& m : measures) {
    std::printf("%-8s %-28s batch %4lld, %d thread(s): %8.0f images/s", name(m.set), m.what,
                static_cast<long long>(m.batch), m.threads, m.best);
    if (m.forward) std::printf(", %5.1f %% of the peak", 100 * m.best * kMultiplyAdds / peaks[m.threads]);
    std::printf("\n");
  }
}
