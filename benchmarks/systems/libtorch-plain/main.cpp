// LeNet-5 on plain libtorch, as one writes it by the book: nn::Module, autograd, optim::Adam, a DataLoader.
#include <torch/torch.h>
#include <torch/version.h>

#include <fstream>
#include <optional>

#include "protocol.hpp"

namespace {

using protocol::Request;

constexpr double kMean = 0.1307, kStd = 0.3081;

// `padding` 2 takes 28×28 pixels (inference, normalisation folded into c1), 0 takes padded 32×32 ones (training).
struct Net : torch::nn::Module {
  explicit Net(int padding)
      : c1(register_module("c1", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 6, 5).padding(padding)))),
        c3(register_module("c3", torch::nn::Conv2d(6, 16, 5))),
        c5(register_module("c5", torch::nn::Conv2d(16, 120, 5))),
        f6(register_module("f6", torch::nn::Linear(120, 84))),
        output(register_module("output", torch::nn::Linear(84, 10))) {}

  torch::Tensor forward(torch::Tensor x) {
    x = torch::max_pool2d(torch::relu(c1->forward(x)), 2);
    x = torch::max_pool2d(torch::relu(c3->forward(x)), 2);
    x = torch::relu(c5->forward(x)).flatten(1);
    x = torch::relu(f6->forward(x));
    return torch::log_softmax(output->forward(x), 1);
  }

  torch::nn::Conv2d c1, c3, c5;
  torch::nn::Linear f6, output;
};

std::vector<char> read(const std::string& path, size_t header) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  file.seekg(header);
  return {std::istreambuf_iterator<char>(file), {}};
}

torch::Tensor read_images(const std::string& directory, const std::string& set) {
  auto bytes = read(directory + "/" + set + "-images-idx3-ubyte", 16);
  const auto count = static_cast<int64_t>(bytes.size() / 784);
  return torch::from_blob(bytes.data(), {count, 1, 28, 28}, torch::kUInt8).to(torch::kFloat32).div_(255);
}

torch::Tensor read_labels(const std::string& directory, const std::string& set) {
  auto bytes = read(directory + "/" + set + "-labels-idx1-ubyte", 8);
  return torch::from_blob(bytes.data(), {static_cast<int64_t>(bytes.size())}, torch::kUInt8).to(torch::kInt64);
}

torch::Tensor normalized(const torch::Tensor& images) {
  return ((torch::constant_pad_nd(images, {2, 2, 2, 2}) - kMean) / kStd).contiguous();
}

// The training set as tensors in memory, a batch by its rows.
class Digits : public torch::data::datasets::BatchDataset<Digits, torch::data::Example<>> {
 public:
  Digits(torch::Tensor images, torch::Tensor labels) : images_(std::move(images)), labels_(std::move(labels)) {}
  torch::data::Example<> get_batch(torch::ArrayRef<size_t> indices) override {
    auto rows = torch::empty({static_cast<int64_t>(indices.size())}, torch::kInt64);
    std::copy(indices.begin(), indices.end(), rows.data_ptr<int64_t>());
    return {images_.index_select(0, rows), labels_.index_select(0, rows)};
  }
  torch::optional<size_t> size() const override { return labels_.size(0); }

 private:
  torch::Tensor images_, labels_;
};

// OneCycleLR with PyTorch's default arguments, the momenta left alone.
double one_cycle(int64_t step, int64_t steps, double maximum) {
  const double up = 0.3 * steps - 1;
  const bool rising = step <= up;
  const double begin = rising ? maximum / 25 : maximum, end = rising ? maximum : maximum / 25e4;
  const double share = rising ? step / up : (step - up) / (steps - 1 - up);
  return end + (begin - end) / 2 * (1 + std::cos(M_PI * share));
}

class System {
 public:
  std::string operator()(const std::string& command, const Request& request) {
    if (command == "load") return load(request);
    if (command == "data") return data(request);
    if (command == "predict") return predict(request);
    if (command == "check") return check(request);
    if (command == "inference") return inference(request);
    if (command == "train") return train(request);
    if (command == "fit") return fit(request);
    throw std::runtime_error("unknown command " + command);
  }

 private:
  static void use_threads(const Request& request) {
    // Before the first parallel region: the threads of the pool inherit it.
    at::globalContext().setFlushDenormal(true);
    torch::set_num_threads(static_cast<int>(request.number("threads")));
  }

  std::string load(const Request& request) {
    use_threads(request);
    auto bytes = read(request.text("parameters"), 0);
    const float* at = reinterpret_cast<const float*>(bytes.data());
    torch::InferenceMode guard;
    for (auto& parameter : model_.parameters()) {
      parameter.copy_(torch::from_blob(const_cast<float*>(at), parameter.sizes()));
      at += parameter.numel();
    }
    // The weights' own normalisation: that of digits is the training's alone.
    auto described = read(request.text("description"), 0);
    const Request description(std::string(described.begin(), described.end()));
    model_.c1->weight.div_(description.number("std"));
    model_.c1->bias.sub_(model_.c1->weight.sum({1, 2, 3}).mul_(description.number("mean")));
    model_.eval();
    return "";
  }

  std::string predict(const Request& request) {
    auto pixels = request.numbers("pixels");
    torch::InferenceMode guard;
    auto label = model_.forward(torch::from_blob(pixels.data(), {1, 1, 28, 28})).argmax(1).item<int64_t>();
    return "\"label\":" + std::to_string(label);
  }

  std::string data(const Request& request) {
    directory_ = request.text("data");
    torch::InferenceMode guard;
    images_ = read_images(directory_, "t10k");
    x_ = torch::Tensor();
    return "";
  }

  // The last batch is filled up with the first images.
  std::vector<torch::Tensor> batches(int64_t size) const {
    const int64_t missing = (size - images_.size(0) % size) % size;
    return torch::cat({images_, images_.slice(0, 0, missing)}).split(size);
  }

  std::string check(const Request& request) {
    torch::InferenceMode guard;
    std::vector<float> values;
    for (const auto& batch : batches(static_cast<int64_t>(request.number("batch")))) {
      const auto answer = model_.forward(batch).contiguous();
      values.insert(values.end(), answer.data_ptr<float>(), answer.data_ptr<float>() + answer.numel());
    }
    values.resize(static_cast<size_t>(images_.size(0) * 10));
    protocol::write_floats(request.text("output"), values);
    const std::string name = "\"nn::Module, InferenceMode; normalisation folded into c1\"";
    return "\"settings\":" + name + ",\"candidates\":[{\"name\":" + name + "}]";
  }

  std::string inference(const Request& request) {
    torch::InferenceMode guard;
    const auto all = batches(static_cast<int64_t>(request.number("batch")));
    const auto measured = protocol::measure([&](size_t index) { model_.forward(all[index]); }, all.size(),
                                            request.number("seconds"));
    return "\"calls\":" + std::to_string(measured.calls) + ",\"seconds\":" + std::to_string(measured.seconds) +
           ",\"p50Ms\":" + std::to_string(measured.p50_ms) + ",\"p99Ms\":" + std::to_string(measured.p99_ms);
  }

  void prepare_training() {
    x_ = normalized(read_images(directory_, "train"));
    y_ = read_labels(directory_, "train");
    start(0, 1e-3);
  }

  void start(uint64_t seed, double learning_rate) {
    torch::manual_seed(seed);
    trained_ = std::make_shared<Net>(0);
    trained_->train();
    adam_.emplace(trained_->parameters(), torch::optim::AdamOptions(learning_rate));
  }

  auto loader(size_t batch) {
    return torch::data::make_data_loader<torch::data::samplers::RandomSampler>(
        Digits(x_, y_), torch::data::DataLoaderOptions().batch_size(batch));
  }

  void step(const torch::data::Example<>& batch) {
    adam_->zero_grad();
    torch::nll_loss(trained_->forward(batch.data), batch.target).backward();
    adam_->step();
  }

  std::string train(const Request& request) {
    if (!x_.defined()) prepare_training();
    const auto size = static_cast<size_t>(request.number("batch"));
    auto batches = loader(size);
    int64_t steps = -5;  // the first five warm up
    protocol::Clock::time_point begin;
    double seconds = 0;
    for (auto& batch : *batches) {
      if (steps == 0) begin = protocol::Clock::now();
      step(batch);
      ++steps;
      if (steps > 0 && (seconds = protocol::seconds_since(begin)) >= request.number("seconds")) break;
    }
    return "\"images\":" + std::to_string(steps * size) + ",\"seconds\":" + std::to_string(seconds) +
           ",\"settings\":\"a DataLoader over tensors in memory, optim::Adam\"";
  }

  std::string fit(const Request& request) {
    use_threads(request);
    directory_ = request.text("data");
    prepare_training();
    auto test_x = normalized(read_images(directory_, "t10k"));
    auto test_y = read_labels(directory_, "t10k");
    const double maximum = request.number("learningRate");
    const auto epochs = static_cast<int64_t>(request.number("epochs"));
    const auto size = static_cast<size_t>(request.number("batchSize"));
    const bool constant = request.text("schedule") == "constant";
    const auto at_once = static_cast<int64_t>(request.has("evaluationBatch") ? request.number("evaluationBatch") : 1000);
    start(static_cast<uint64_t>(request.number("seed")), maximum);
    const int64_t steps = epochs * ((x_.size(0) + size - 1) / size);
    auto batches = loader(size);
    int64_t done = 0;
    double training = 0;
    for (int64_t epoch = 1; epoch <= epochs; ++epoch) {
      const auto begin = protocol::Clock::now();
      for (auto& batch : *batches) {
        const double rate = constant ? maximum : one_cycle(done++, steps, maximum);
        static_cast<torch::optim::AdamOptions&>(adam_->param_groups()[0].options()).lr(rate);
        step(batch);
      }
      training += protocol::seconds_since(begin);
      torch::InferenceMode guard;
      int64_t correct = 0;
      for (int64_t i = 0; i < test_y.size(0); i += at_once) {
        auto answer = trained_->forward(test_x.slice(0, i, i + at_once)).argmax(1);
        correct += (answer == test_y.slice(0, i, i + at_once)).sum().item<int64_t>();
      }
      protocol::say("{\"event\":\"evaluation\",\"epoch\":" + std::to_string(epoch) +
                    ",\"accuracy\":" + std::to_string(static_cast<double>(correct) / test_y.size(0)) +
                    ",\"trainingSeconds\":" + std::to_string(training) + "}");
    }
    return "\"trainingSeconds\":" + std::to_string(training);
  }

  Net model_{2};
  std::string directory_;
  torch::Tensor images_, x_, y_;
  std::shared_ptr<Net> trained_;
  std::optional<torch::optim::Adam> adam_;
};

}  // namespace

int main() {
  protocol::say(std::string("{\"event\":\"ready\",\"versions\":{\"libtorch\":\"") + TORCH_VERSION + "\"}}");
  System system;
  protocol::serve(std::ref(system));
}
