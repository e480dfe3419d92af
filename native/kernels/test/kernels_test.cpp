// Holds the fused kernels of every instruction set to a naive reference in double precision. Needs no libtorch:
//   cmake -S native/kernels/test -B build/kernels-test && cmake --build build/kernels-test
//   build/kernels-test/kernels_test
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "check.h"
#include "reference.h"

using namespace lenet5::kernels;

namespace {

double largest_difference(const std::vector<float>& a, const std::vector<double>& b) {
  double d = 0;
  for (size_t i = 0; i < a.size(); ++i) d = std::max(d, std::isnan(a[i]) ? 1e30 : std::abs(a[i] - b[i]));
  return d;
}

void test_forward(InstructionSet set, int classes, int size, PixelType type, int64_t count) {
  const auto parameters = random_parameters(classes, 1);
  const RandomImages images(count, size, type, 2);
  std::vector<float> out(static_cast<size_t>(count * classes), -1.0f);
  const Forward forward(parameters.data(), classes, 0.1307f, 0.3081f, set);
  check(forward.run(images.view(), {out.data(), nullptr, true}), "finite pixels", name(set), 0, 0);
  std::vector<double> expected(out.size());
  for (int64_t i = 0; i < count; ++i) {
    reference_forward(std::vector<double>(parameters.begin(), parameters.end()), classes, images.padded(i), 0.1307f,
                      0.3081f, expected.data() + i * classes);
  }
  check_below(largest_difference(out, expected), 1e-5, name(set),
              type == PixelType::uint8 ? "log-probabilities, %lld bytes images of side %lld"
                                       : "log-probabilities, %lld float images of side %lld",
              count, size);
}

// Probabilities and labels are those of the log-probabilities.
void test_answers(InstructionSet set, int classes) {
  constexpr int64_t count = 21;
  auto parameters = random_parameters(classes, 5);
  // Two outputs alike: the first one is the label. One so low that its probability is 0.
  if (classes > 2) {
    std::copy_n(parameters.end() - classes - 84 * (classes - 1), 84, parameters.end() - classes - 84 * classes);
    parameters[parameters.size() - classes] = parameters[parameters.size() - classes + 1] = 3;
    parameters.back() = -95;
  }
  const RandomImages images(count, 28, PixelType::uint8, 6);
  const Forward forward(parameters.data(), classes, 0.1307f, 0.3081f, set);
  const auto length = static_cast<size_t>(count * classes);
  std::vector<float> logs(length), probabilities(length);
  std::vector<int32_t> labels(count, -1), again(count, -1);
  forward.run(images.view(), {logs.data(), labels.data(), true});
  forward.run(images.view(), {probabilities.data(), again.data(), false});
  double difference = 0;
  int wrong = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float* row = logs.data() + i * classes;
    const auto label = static_cast<int32_t>(std::max_element(row, row + classes) - row);
    wrong += labels[i] != label || again[i] != label;
    for (int c = 0; c < classes; ++c) {
      const double probability = probabilities[i * classes + c];
      wrong += row[c] < -87 && probability != 0;
      difference = std::max(difference, std::abs(probability - std::exp(static_cast<double>(row[c]))));
    }
  }
  check_below(difference, 2e-7, name(set), "probabilities of %lld classes", classes);
  check_below(wrong, 0, name(set), "labels of %lld classes", classes);
}

// One pixel anywhere that is no finite number is seen, in images of either size and on any thread.
void test_not_finite(InstructionSet set) {
  const auto parameters = random_parameters(10, 7);
  const Forward forward(parameters.data(), 10, 0.1307f, 0.3081f, set);
  int missed = 0;
  for (const int size : {28, 32}) {
    const int64_t count = 9, pixels = size * size;
    std::vector<float> images(static_cast<size_t>(count * pixels), 0.0f);  // black rows are passed over
    const Images view{images.data(), PixelType::float32, size, count};
    std::vector<float> out(static_cast<size_t>(count * 10));
    const Answers answers{out.data(), nullptr, true};
    missed += !forward.run(view, answers);
    const float bad[] = {std::nanf(""), INFINITY, -INFINITY};
    for (int64_t pixel = 0; pixel < pixels; pixel += 3) {
      float& place = images[static_cast<size_t>(pixel * 31 % count * pixels + pixel)];
      place = bad[pixel % 3];
      missed += forward.run(view, answers);
      place = 0;
    }
    images.back() = 1e-42f;  // neither is a subnormal, nor the largest number
    images.front() = 3.4e38f;
    missed += !forward.run(view, answers);
  }
  check_below(missed, 0, name(set), "pixels that are not finite");
}

// With `weights`, the loss is torch.nn.NLLLoss(weight=weights): each image counts with its label's weight, and the mean
// is over those.
void test_gradients(InstructionSet set, int classes, int size, PixelType type, int64_t count,
                    const std::vector<float>& weights = {}) {
  const auto parameters = random_parameters(classes, 3);
  RandomImages images(count, size, type, 4);
  const auto labels = random_labels(count, classes, 5);
  const std::vector<double> exact(parameters.begin(), parameters.end());
  // Where ReLU or a maximum hangs on the last bit of a sum, single precision may decide otherwise, and rightly: such an
  // image is drawn again.
  for (int64_t i = 0; i < count; ++i) {
    while (reference_network(exact, classes, images.padded(i), 0.1307f, 0.3081f).margin < 1e-6) images.draw(i);
  }
  const auto weight = [&](int64_t i) { return weights.empty() ? 1.0 : static_cast<double>(weights[labels[i]]); };
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += weight(i);
  Trainer trainer(classes, 0.1307f, 0.3081f, set);
  trainer.set_class_weights(weights);
  trainer.import_state(parameters.data(), nullptr, nullptr, 0);
  std::vector<float> gradients(parameters.size());
  const StepResult result = trainer.gradients(images.view(), labels.data(), gradients.data());
  std::vector<double> expected(parameters.size());
  double loss = 0;
  for (int64_t i = 0; i < count; ++i) {
    loss += weight(i) * reference_backward(exact, classes, images.padded(i), 0.1307f, 0.3081f, labels[i],
                                           weight(i) / total, expected);
  }
  check_below(std::abs(loss / total - result.loss), 1e-5, name(set),
              weights.empty() ? "loss of a batch of %lld" : "weighted loss of a batch of %lld", count);
  check(std::abs(result.weight - total) < 1e-9, "what the mean was taken over", name(set), result.weight, total);
  int64_t at = 0;
  for (const auto& tensor : tensors(classes)) {
    double norm = 0, difference = 0, largest = 0, largest_off = 0;
    for (int64_t i = at; i < at + tensor.size; ++i) {
      const double off = gradients[i] - expected[i];
      norm += expected[i] * expected[i];
      difference += std::isnan(off) ? 1e30 : off * off;
      largest = std::max(largest, std::abs(expected[i]));
      largest_off = std::max(largest_off, std::abs(off));
    }
    at += tensor.size;
    char what[64];
    std::snprintf(what, sizeof what, "%sgradient of %s, batch of %%lld", weights.empty() ? "" : "weighted ",
                  tensor.name);
    check_below(std::max(std::sqrt(difference / norm), largest_off / largest), 1e-4, name(set), what, count);
  }
}

struct State {
  std::vector<float> parameters, m, v;
  int64_t step = 0;
};

State export_of(const Trainer& trainer, int64_t size) {
  State s{std::vector<float>(size), std::vector<float>(size), std::vector<float>(size)};
  trainer.export_state(s.parameters.data(), s.m.data(), s.v.data(), &s.step);
  return s;
}

bool same(const State& a, const State& b) {
  const auto bits = [](const std::vector<float>& x, const std::vector<float>& y) {
    return std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  };
  return bits(a.parameters, b.parameters) && bits(a.m, b.m) && bits(a.v, b.v) && a.step == b.step;
}

void test_training(InstructionSet set) {
  constexpr int classes = 10, size = 28, batch = 16, set_size = 200, steps = 100;
  const AdamOptions options = {1e-3, 0.9, 0.999, 1e-8, 1e-4};
  const auto initial = random_parameters(classes, 6);
  const RandomImages images(set_size, size, PixelType::uint8, 7);
  const auto labels = random_labels(set_size, classes, 8);
  const auto indices = [&](int step) {
    std::vector<int64_t> list(batch);
    for (int i = 0; i < batch; ++i) list[i] = (step * 37 + i * 11) % set_size;
    return list;
  };
  const auto train = [&](Trainer& trainer, int from, int to) {
    double loss = 0;
    for (int s = from; s < to; ++s) {
      loss = trainer.step(images.bytes(), size, labels.data(), indices(s).data(), batch, options).loss;
    }
    return loss;
  };

  Trainer whole(classes, 0.1307f, 0.3081f, set);
  whole.import_state(initial.data(), nullptr, nullptr, 0);
  const double loss = train(whole, 0, steps);
  const State end = export_of(whole, parameter_count(classes));

  std::vector<double> parameters(initial.begin(), initial.end());
  ReferenceAdam adam(parameters.size());
  double expected_loss = 0;
  for (int s = 0; s < steps; ++s) {
    std::vector<double> gradients(parameters.size());
    expected_loss = 0;
    for (const int64_t i : indices(s)) {
      expected_loss += reference_backward(parameters, classes, images.padded(i), 0.1307f, 0.3081f, labels[i],
                                          1.0 / batch, gradients);
    }
    expected_loss /= batch;
    adam.step(parameters, gradients, options);
  }
  double moved = 0, off = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    moved += std::pow(parameters[i] - initial[i], 2);
    off += std::pow(parameters[i] - end.parameters[i], 2);
  }
  check_below(std::sqrt(off / moved), 0.1, name(set), "distance after 100 steps as a share of the way gone");
  check_below(std::abs(loss - expected_loss), 1e-2, name(set), "loss after 100 steps");

  Trainer resumed(classes, 0.1307f, 0.3081f, set);
  resumed.import_state(initial.data(), nullptr, nullptr, 0);
  train(resumed, 0, 40);
  const State middle = export_of(resumed, parameter_count(classes));
  Trainer other(classes, 0.1307f, 0.3081f, set);
  other.import_state(middle.parameters.data(), middle.m.data(), middle.v.data(), middle.step);
  check(same(middle, export_of(other, parameter_count(classes))), "export of an import is the same", name(set), 0, 0);
  train(other, 40, steps);
  check(same(end, export_of(other, parameter_count(classes))), "a resumed run ends in the same weights", name(set), 0,
        0);
}

// A batch in which only classes of weight 0 occur teaches nothing; weights of 1 change no bit.
void test_class_weights(InstructionSet set) {
  constexpr int classes = 3;
  constexpr int64_t count = 8;
  const auto parameters = random_parameters(classes, 11);
  const RandomImages images(count, 28, PixelType::uint8, 12);
  const std::vector<int32_t> labels(count, 1);
  const auto gradients = [&](const std::vector<float>& weights, StepResult& result) {
    Trainer trainer(classes, 0.1307f, 0.3081f, set);
    trainer.import_state(parameters.data(), nullptr, nullptr, 0);
    trainer.set_class_weights(weights);
    std::vector<float> out(parameters.size());
    result = trainer.gradients(images.view(), labels.data(), out.data());
    return out;
  };
  StepResult none{}, ones{}, zero{};
  const auto plain = gradients({}, none);
  const auto even = gradients({1, 1, 1}, ones);
  check(plain == even && none.loss == ones.loss, "weights of 1 are no weights", name(set), ones.loss, none.loss);
  const auto nothing = gradients({1, 0, 1}, zero);
  check(zero.loss == 0 && zero.weight == 0 && nothing == std::vector<float>(nothing.size()),
        "a batch of weight 0 has no loss and no gradient", name(set), zero.loss, 0);

  Trainer trainer(classes, 0.1307f, 0.3081f, set);
  for (const std::vector<float>& wrong :
       {std::vector<float>{1, 1}, {1, 1, 1, 1}, {1, -1, 1}, {1, NAN, 1}, {1, INFINITY, 1}}) {
    bool refused = false;
    try {
      trainer.set_class_weights(wrong);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    check(refused, "weights that no loss can have", name(set), static_cast<double>(wrong.size()), classes);
  }
}

void test_concurrency(InstructionSet set) {
  constexpr int classes = 10;
  constexpr int64_t count = 100;
  const auto parameters = random_parameters(classes, 9);
  const RandomImages images(count, 28, PixelType::uint8, 10);
  const Forward forward(parameters.data(), classes, 0.1307f, 0.3081f, set);
  std::vector<float> expected(count * classes);
  forward.run(images.view(), {expected.data(), nullptr, true});
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      std::vector<float> out(expected.size());
      for (int round = 0; round < 50; ++round) {
        forward.run(images.view(), {out.data(), nullptr, true});
        wrong += std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) != 0;
      }
    });
  }
  for (int t = 1; t <= 4; ++t) set_num_threads(t);
  for (auto& caller : callers) caller.join();
  set_num_threads(2);
  check(wrong == 0, "four callers at once while the pool is resized", name(set), wrong, 0);
}

}  // namespace

int main() {
  set_num_threads(2);
  for (const InstructionSet set : supported_instruction_sets()) {
    for (const int64_t count : {0, 1, 7, 64, 1000}) {
      test_forward(set, 10, 28, PixelType::uint8, count);
    }
    test_forward(set, 10, 28, PixelType::float32, 9);
    test_forward(set, 10, 32, PixelType::uint8, 9);
    test_forward(set, 10, 32, PixelType::float32, 9);
    for (const int classes : {1, 2, 16, 17, 32, 33, 47, 3000}) test_forward(set, classes, 28, PixelType::uint8, 13);
    for (const int64_t count : {1, 7, 64, 1000}) test_gradients(set, 10, 28, PixelType::uint8, count);
    test_gradients(set, 10, 32, PixelType::float32, 7);
    test_gradients(set, 1000, 28, PixelType::float32, 5);
    test_gradients(set, 47, 32, PixelType::uint8, 5);
    test_gradients(set, 10, 28, PixelType::uint8, 64, {0.5f, 2, 0, 1, 1, 0.25f, 3, 1, 1, 10});
    test_gradients(set, 3, 32, PixelType::float32, 1, {0.5f, 2, 0.1f});
    for (const int classes : {1, 2, 10, 16, 17, 47}) test_answers(set, classes);
    test_not_finite(set);
    test_class_weights(set);
    test_training(set);
    test_concurrency(set);
  }
  return finish();
}
