// How many fused multiply-adds the machine does a second: the yardstick for "share of peak".
// Every thread keeps twelve independent accumulators in registers and touches no memory; the widest vectors need not
// be the fastest, so each instruction set the machine has is tried and the best counts.
#include <atomic>
#include <thread>

#include "protocol.hpp"

namespace {

constexpr int kAccumulators = 12;
constexpr long kIterations = 100000;

template <int Width>
struct Vectors {
  typedef float Vector __attribute__((vector_size(Width * 4)));
};

// The loop itself, inlined into a function compiled for one instruction set. Returns something to keep it alive.
template <int Width>
__attribute__((always_inline)) inline float spin(float seed) {
  using Vector = typename Vectors<Width>::Vector;
  const Vector factor = Vector{} + (0.999f + seed * 1e-6f), addend = Vector{} + (1e-3f + seed * 1e-6f);
  Vector sums[kAccumulators];
  for (int i = 0; i < kAccumulators; ++i) sums[i] = Vector{} + static_cast<float>(i);
  for (long iteration = 0; iteration < kIterations; ++iteration) {
#pragma GCC unroll 12
    for (int i = 0; i < kAccumulators; ++i) sums[i] = sums[i] * factor + addend;
  }
  float total = 0;
  for (const Vector& sum : sums) total += sum[0];
  return total;
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) float spin_avx512(float seed) { return spin<16>(seed); }
__attribute__((target("avx2,fma"))) float spin_avx2(float seed) { return spin<8>(seed); }
#elif defined(__aarch64__)
float spin_neon(float seed) { return spin<4>(seed); }
#endif

struct Variant {
  const char* name;
  int width;
  float (*run)(float);
};

std::vector<Variant> variants() {
  std::vector<Variant> found;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) found.push_back({"avx512", 16, spin_avx512});
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back({"avx2", 8, spin_avx2});
#elif defined(__aarch64__)
  found.push_back({"neon", 4, spin_neon});
#endif
  return found;
}

// Multiply-adds a second of one variant on all threads together.
double rate(const Variant& variant, int threads, double seconds) {
  std::atomic<long> calls{0};
  std::atomic<float> sink{0};
  std::atomic<bool> stop{false};
  const auto begin = protocol::Clock::now();
  std::vector<std::thread> workers;
  for (int thread = 0; thread < threads; ++thread) {
    workers.emplace_back([&, thread] {
      do {
        sink = variant.run(static_cast<float>(thread));
        ++calls;
      } while (!stop);
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  for (auto& worker : workers) worker.join();
  return static_cast<double>(calls) * kIterations * kAccumulators * variant.width / protocol::seconds_since(begin);
}

}  // namespace

int main() {
  protocol::say("{\"event\":\"ready\",\"versions\":{}}");
  protocol::serve([](const std::string&, const protocol::Request& request) {
    const auto found = variants();
    if (found.empty()) throw std::runtime_error("no instruction set with fused multiply-adds is known here");
    double best = 0;
    std::string name;
    for (const Variant& variant : found) {
      const double measured =
          rate(variant, static_cast<int>(request.number("threads")), request.number("seconds") / found.size());
      if (measured > best) {
        best = measured;
        name = variant.name;
      }
    }
    return "\"multiplyAddsPerSecond\":" + std::to_string(best) + ",\"instructionSet\":\"" + name + "\"";
  });
}
