// What has no way to the surface of its own: PyTorch's generator by numbers that PyTorch drew
// (test/fixtures/generate_random.py), numbers as text under a locale with a decimal comma, early stopping, which calls
// count as short, and which engine is chosen on machines that are not at hand. Prints what failed; the exit status is
// the number of failures.
#include <atomic>
#include <cstdio>
#include <limits>
#include <locale>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../../kernels/thread_pool.h"
#include "../batches.h"
#include "../crc32.h"
#include "../early_stopping.h"
#include "../engines.h"
#include "../error.h"
#include "../number_text.h"
#include "../parameters.h"
#include "../random.h"
#include "../short_calls.h"
#include "../trainer.h"

namespace {

using namespace lenet5;

int failures = 0;

template <typename A, typename B>
void expect_equal(const A& actual, const B& expected, const char* what) {
  if (actual == expected) return;
  ++failures;
  std::fprintf(stderr, "not as expected: %s\n", what);
}

template <typename Body>
std::string code_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return "none";
}

template <typename T>
uint32_t checksum(const std::vector<T>& values) {
  return crc32(values.data(), values.size() * sizeof(T));
}

struct Drawn {
  uint64_t seed;
  int64_t count;
  uint32_t orders, state;  // of three orders one after another, and of the state after them
};
constexpr Drawn kDrawn[] = {
#include "drawn_orders.inc"
};

struct Initial {
  uint64_t seed;
  int64_t classes;
  uint32_t parameters;
};
constexpr Initial kInitial[] = {
#include "drawn_parameters.inc"
};

void random_numbers() {
  for (const Drawn& drawn : kDrawn) {
    Generator generator(drawn.seed);
    std::vector<int64_t> orders;
    for (int i = 0; i < 3; ++i) {
      const auto order = generator.permutation(drawn.count);
      orders.insert(orders.end(), order.begin(), order.end());
    }
    expect_equal(checksum(orders), drawn.orders, "the orders that torch.randperm draws");
    expect_equal(checksum(generator.state()), drawn.state, "the state of torch.Generator after them");
    Generator again(0);
    again.set_state(generator.state());
    expect_equal(again.permutation(drawn.count) == generator.permutation(drawn.count), true,
                 "an order after set_state");
  }
  for (const Initial& initial : kInitial) {
    expect_equal(checksum(initial_parameters(initial.classes, initial.seed)), initial.parameters, "initial parameters");
  }
}

void generator_states() {
  const std::vector<uint8_t> good = Generator(7).state();
  expect_equal(good.size(), size_t{5056}, "the length of a state");
  expect_equal(code_of([] { Generator(0).set_state({}); }), "CHECKPOINT_CORRUPT", "an empty state");
  // left, seeded, next: what leads out of the words must not get in.
  for (const size_t at : {size_t{8}, size_t{11}, size_t{12}, size_t{16}, size_t{18}, size_t{23}}) {
    std::vector<uint8_t> bad = good;
    bad[at] ^= 0x85;
    expect_equal(code_of([&] { Generator(0).set_state(bad); }), "CHECKPOINT_CORRUPT", "a state that points elsewhere");
  }
}

struct Comma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

void numbers_as_text() {
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Comma));
  expect_equal(number_text(0.1307), "0.1307", "a number under a locale with a comma");
  expect_equal(number_text(1234567), "1234567", "thousands under a locale that groups them");
  expect_equal(float_literal(100), "1e+02", "a float that Python reads");
  expect_equal(float_literal(1234), "1234.0", "a whole float that Python reads");
  expect_equal(number_text(0.1 + 0.2), "0.30000000000000004", "seventeen digits");
  expect_equal(number_text(std::numeric_limits<double>::infinity()), "inf", "infinity");
  std::locale::global(before);
}

void early_stopping() {
  const std::vector<float> first{1}, second{2};
  EarlyStopping loss({Metric::loss, 2, 0.1}, {});
  loss.note(1, 1.0, 0, first);
  loss.note(2, 0.95, 0, second);
  expect_equal(loss.over(), false, "one epoch of patience left");
  loss.note(3, std::numeric_limits<double>::quiet_NaN(), 0, second);
  expect_equal(loss.over(), true, "no patience left");
  expect_equal(loss.record().best_epoch, 1, "the best epoch");
  expect_equal(loss.record().parameters, first, "its weights");

  EarlyStopping accuracy({Metric::accuracy, 1, 0}, {});
  accuracy.note(1, 0, std::numeric_limits<double>::quiet_NaN(), first);
  expect_equal(accuracy.record().best_epoch, 0, "no best epoch without a number");
  EarlyStopping resumed({Metric::accuracy, 1, 0}, {4, 0.5, 0, first});
  resumed.note(5, 0, 0.6, second);
  expect_equal(resumed.record().best_epoch, 5, "an improvement on what a checkpoint remembers");
}

void short_calls() {
  constexpr int64_t brief = ShortCalls::kShort, long_one = brief + 1, far_too_long = ShortCalls::kFarTooLong + 1;
  ShortCalls calls;
  const auto needed = [&](uint64_t kind) {
    int count = 0;
    while (!calls.expected(kind) && count < 100000) {
      calls.took(kind, brief, false);
      count++;
    }
    return count;
  };
  expect_equal(needed(1), 8, "eight short calls before one is made here");
  expect_equal(calls.expected(2), false, "nothing is known of another kind");
  for (int i = 0; i < 100; i++) calls.took(1, brief, true);
  calls.took(1, long_one, true);
  expect_equal(needed(1), 0, "one that was longer counts for little among a hundred that were short");
  calls.took(1, long_one, true);
  expect_equal(needed(1), 4, "a second one in a row sends the next one away");
  for (int i = 0; i < 100; i++) calls.took(3, long_one, false);
  expect_equal(needed(3), 8, "nothing but longer ones");
  calls.took(1, far_too_long, false);
  expect_equal(needed(1), 8, "however long it took on another thread");
  calls.took(1, far_too_long, true);
  expect_equal(needed(1), 64, "eight times as many after one that held up the event loop");
  calls.took(1, far_too_long, true);
  expect_equal(needed(1), 512, "and again");
  for (uint64_t kind = 100; kind < 1000; kind++) calls.took(kind, brief, false);
  expect_equal(needed(1000), 8, "kinds without end");
}

// A libtorch that sees a graphics card, and one that sees Apple's.
std::string cuda(const std::string& name) { return name == "cpu" ? "cpu" : "cuda:0"; }
std::string apple(const std::string& name) { return name == "cpu" ? "cpu" : "mps:0"; }

class OtherEngine : public Engine {
 public:
  explicit OtherEngine(std::string device) : device_(std::move(device)) {}
  const char* name() const override { return "libtorch"; }
  std::string device() const override { return device_; }
  const char* instruction_set() const override { return "none"; }
  std::shared_ptr<const Predictor> predictor(const Normalization&, const std::vector<float>&) const override {
    return nullptr;
  }
  std::unique_ptr<Training> training(const Normalization&, const OptimizerState&,
                                     const std::vector<float>&) const override {
    return nullptr;
  }
  StepResult gradients(const Normalization&, const std::vector<float>&, const Images&, const int32_t*,
                       float*) const override {
    return {};
  }

 private:
  std::string device_;
};

std::unique_ptr<const Engine> make_other(int64_t, const std::string& device) {
  return std::make_unique<OtherEngine>(device);
}

std::string chosen(const char* device, const char* engine) {
  EngineRequest request;
  request.device = device;
  request.engine = engine;
  std::string text;
  const std::string code = code_of([&] {
    const auto made = make_engine(request);
    text = std::string(made->name()) + " on " + made->device();
  });
  return code == "none" ? text : code;
}

void engines() {
  expect_equal(chosen("auto", "auto"), "fused on cpu", "without libtorch");
  expect_equal(chosen("cpu", "libtorch"), "ENGINE_UNAVAILABLE", "libtorch where there is none");
  expect_equal(chosen("cuda", "auto"), "DEVICE_UNAVAILABLE", "CUDA where there is no libtorch");
  const LibtorchEngine with_cuda{cuda, make_other}, on_apple{apple, make_other};
  plug_in_libtorch(&with_cuda);
  expect_equal(chosen("auto", "auto"), "libtorch on cuda:0", "a machine with CUDA");
  expect_equal(chosen("auto", "fused"), "fused on cpu", "the fused engine on a machine with CUDA");
  expect_equal(chosen("cuda", "fused"), "ENGINE_UNAVAILABLE", "the fused engine on CUDA");
  expect_equal(chosen("cpu", "auto"), "fused on cpu", "the CPU of a machine with CUDA");
  expect_equal(chosen("auto", "libtorch"), "libtorch on cuda:0", "libtorch on a machine with CUDA");
  plug_in_libtorch(&on_apple);
  expect_equal(chosen("auto", "auto"), "fused on cpu", "Apple");
  expect_equal(chosen("auto", "libtorch"), "libtorch on cpu", "libtorch on Apple, unless mps is asked for");
  plug_in_libtorch(nullptr);
}

void thread_pool() {
  kernels::set_num_threads(2);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> ran{0};
    bool caught = false;
    try {
      kernels::parallel_for(64, [&](int64_t i) {
        ran.fetch_add(1);
        if (i % 8 == 7) throw std::runtime_error("a task");
      });
    } catch (const std::runtime_error&) {
      caught = true;
    }
    expect_equal(caught, true, "a task's exception at the caller");
    expect_equal(ran.load() < 64, true, "tasks left out after an exception");
    std::atomic<int> whole{0};
    kernels::parallel_for(64, [&](int64_t) { whole.fetch_add(1); });
    expect_equal(whole.load(), 64, "a whole job after one that failed");
  }
}

// A stop while the validation runs ends the run there, and tells nobody of the epoch.
void stop_in_validation() {
  class Counting : public Predictor {
   public:
    explicit Counting(Cancellation& stop) : stop_(stop) {}
    void run(const Images& images, const Answers& answers) const override {
      batches++;
      stop_.store(true);
      std::fill_n(answers.scores, images.count * 2, 0.0f);
      std::fill_n(answers.labels, images.count, 0);
    }
    mutable int batches = 0;

   private:
    Cancellation& stop_;
  };
  Cancellation stop{false};
  const Counting predictor(stop);
  ImageSet set;
  set.labels.assign(5000, 0);
  set.images.assign(5000 * 784, 0);
  expect_equal(evaluate(predictor, 2, set, 1000, &stop).has_value(), false, "an evaluation that was stopped");
  expect_equal(predictor.batches, 1, "batches after a stop");
}

}  // namespace

// However long the pieces are, and so by whatever method.
void checksums() {
  std::vector<unsigned char> bytes(100000);
  uint32_t state = 1;
  for (auto& byte : bytes) byte = static_cast<unsigned char>((state = state * 1664525 + 1013904223) >> 24);
  uint32_t one_by_one = 0;
  for (const auto& byte : bytes) one_by_one = crc32(&byte, 1, one_by_one);
  for (const size_t piece :
       {size_t{7}, size_t{63}, size_t{64}, size_t{65}, size_t{79}, size_t{80}, size_t{1000}, bytes.size()}) {
    uint32_t value = 0;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      value = crc32(bytes.data() + at, std::min(piece, bytes.size() - at), value);
    }
    expect_equal(value, one_by_one, ("CRC-32 in pieces of " + std::to_string(piece)).c_str());
  }
}

int main() {
  checksums();
  expect_equal(crc32("123456789", 9), 0xcbf43926u, "the check value of CRC-32");
  expect_equal(crc32("6789", 4, crc32("12345", 5)), 0xcbf43926u, "CRC-32 in two parts");
  random_numbers();
  generator_states();
  numbers_as_text();
  early_stopping();
  short_calls();
  engines();
  thread_pool();
  stop_in_validation();
  if (failures == 0) std::puts("all as expected");
  return failures;
}
