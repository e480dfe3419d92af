// LeNet-5's own fused forward and backward passes.
//
// Problem: on a network of 0.42 M multiply-adds an image, a general tensor library spends almost all of its time
// between its operators. Resolution: the geometry is known at compile time, so convolution, ReLU and pooling are fused
// and one image at a time runs through them in the first cache; the dense layers take blocks of images, so that their
// weights are read once for many. Plain C++, no libtorch type.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lenet5::kernels {

// Instruction sets the kernels are compiled for; which of them runs is chosen at run time.
enum class InstructionSet { baseline, avx2, avx512 };

// What this build and this machine can run, slowest first. The environment's
// LENET5_INSTRUCTION_SET=baseline|avx2|avx512 leaves out what is above it.
std::vector<InstructionSet> supported_instruction_sets();
InstructionSet best_instruction_set();
const char* name(InstructionSet set);

// Threads of the kernels' one pool. Libtorch's count is set beside it by the caller.
void set_num_threads(int threads);
int num_threads();

// Number of parameters for a class count: 60,856 + 85 × classes.
constexpr int64_t parameter_count(int64_t classes) { return 60856 + 85 * classes; }

enum class PixelType { uint8, float32 };

// A batch of grey images, row-major: 28×28 (padded by 2 with black) or 32×32; uint8 in 0..255 or float32 in 0..1.
struct Images {
  const void* pixels;
  PixelType type;
  int size;
  int64_t count;
};

// False where any of the values is NaN or infinite.
bool all_finite(const float* values, int64_t count);

// Where answers go. `scores`: count × classes log-probabilities or, unless `log`, probabilities, which are 0 below
// 1e-38. `labels`: each image's most likely class, the first of several; may be null.
struct Answers {
  float* scores;
  int32_t* labels;
  bool log;
};

// Packed, immutable weights for inference. `run` may be called from several threads at once.
class Forward {
 public:
  // `parameters`: flat, in state-dict order (c1, c3, c5, f6, output; weight, then bias; PyTorch's layout).
  Forward(const float* parameters, int classes, float mean, float std, InstructionSet set);
  ~Forward();
  // Answers for every image. False where one of the pixels is NaN or infinite: the answers are of no use then.
  // Allocates nothing.
  bool run(const Images& images, const Answers& answers) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct AdamOptions {
  double learning_rate, beta1, beta2, epsilon, weight_decay;
};

struct StepResult {
  double loss;        // mean negative log-likelihood of the batch, before the update
  int64_t correct;    // images whose largest output was the label
  double weight = 0;  // what the mean was taken over: the images, or the sum of their labels' weights
};

// Weights, Adam's moments and the scratch of a training run. Not thread-safe; uses the pool inside.
class Trainer {
 public:
  Trainer(int classes, float mean, float std, InstructionSet set);
  ~Trainer();
  // Flat arrays in state-dict order; the moments may be null for a fresh optimiser. `step`: Adam steps already made.
  void import_state(const float* parameters, const float* exp_avg, const float* exp_avg_sq, int64_t step);
  void export_state(float* parameters, float* exp_avg, float* exp_avg_sq, int64_t* step) const;
  // Weights of the classes in the loss, as torch.nn.NLLLoss(weight=weights) with its mean: Σ weight × loss / Σ weight
  // over a batch. None, as at first, counts every image alike. A batch whose weights are all 0 has a loss of 0 and
  // gradients of 0, where PyTorch has NaN. Throws std::invalid_argument unless there is one weight a class (or none),
  // each finite and at least 0.
  void set_class_weights(const std::vector<float>& weights);
  // One step of Adam as torch.optim.Adam (weight decay as L2) over the images indices[0], indices[1], … of a uint8 set
  // and their labels labels[indices[0]], … For a given number of threads the same steps give bit-identical weights.
  // Throws std::invalid_argument for a label outside 0 … classes - 1 or an empty batch, before anything changes.
  StepResult step(const uint8_t* images, int size, const int32_t* labels, const int64_t* indices, int64_t count,
                  const AdamOptions& options);
  // The same step in two halves, for a batch that several trainers share: each computes a part of the gradient, their
  // sum is applied by all. Both in an order of the trainer's own, gradient_length() floats long.
  int64_t gradient_length() const;
  // These images' part of the mean loss's gradient over a batch whose weights (of the images, or of their labels) sum
  // to `total`; the result's loss is their part of the mean. No images are a part of zeros. Throws as `step`.
  StepResult part(const uint8_t* images, int size, const int32_t* labels, const int64_t* indices, int64_t count,
                  double total, float* gradients);
  void apply(const float* gradients, const AdamOptions& options);
  // The mean loss's gradient over a batch, flat in state-dict order; leaves the weights alone. labels[i] is image i's.
  StepResult gradients(const Images& images, const int32_t* labels, float* gradients);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lenet5::kernels
