#include "lenet5_tensors.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstring>

#include "../lenet5/parameters.h"

namespace lenet5 {

torch::Tensor to_flat(const std::vector<float>& values, const torch::Device& device) {
  return torch::from_blob(const_cast<float*>(values.data()), {static_cast<int64_t>(values.size())}).clone().to(device);
}

std::vector<float> to_vector(const torch::Tensor& tensor) {
  torch::Tensor cpu = tensor.detach().to(torch::kCPU).contiguous();
  return {cpu.data_ptr<float>(), cpu.data_ptr<float>() + cpu.numel()};
}

Parameters parameter_views(const torch::Tensor& flat, int64_t num_classes) {
  Parameters views;
  for (const ParameterInfo& info : parameter_table(num_classes)) {
    views.push_back(flat.detach().narrow(0, info.offset, info.length).view(info.shape));
  }
  return views;
}

Parameters gradient_leaves(const torch::Tensor& flat, const torch::Tensor& gradient, int64_t num_classes) {
  Parameters leaves = parameter_views(flat, num_classes);
  const Parameters gradients = parameter_views(gradient, num_classes);
  for (size_t i = 0; i < leaves.size(); i++) {
    leaves[i].requires_grad_(true);
    leaves[i].mutable_grad() = gradients[i];
  }
  return leaves;
}

torch::Tensor forward(const Parameters& p, const Normalization& normalization, const torch::Tensor& images) {
  torch::Tensor x = images;
  if (x.size(2) == kImageSize) x = at::constant_pad_nd(x, {2, 2, 2, 2}, 0);
  x = (x - normalization.mean) / normalization.std;
  x = at::max_pool2d(at::relu(at::conv2d(x, p[0], p[1])), {2, 2});
  x = at::max_pool2d(at::relu(at::conv2d(x, p[2], p[3])), {2, 2});
  x = at::relu(at::conv2d(x, p[4], p[5])).flatten(1);
  x = at::relu(at::addmm(p[7], x, p[6].t()));
  x = at::addmm(p[9], x, p[8].t());
  return at::log_softmax(x, 1);
}

torch::TensorOptions staging_for(const torch::Device& device) {
  return torch::TensorOptions().device(torch::kCPU).pinned_memory(device.is_cuda());
}

torch::Tensor gathered_images(const Batch& batch, const torch::Device& device) {
  const int64_t length = int64_t{batch.size} * batch.size;
  torch::Tensor raw = torch::empty({batch.count, 1, batch.size, batch.size}, staging_for(device).dtype(torch::kUInt8));
  auto* out = raw.data_ptr<uint8_t>();
  for (int64_t i = 0; i < batch.count; i++) {
    const int64_t from = batch.indices == nullptr ? i : batch.indices[i];
    std::memcpy(out + i * length, batch.images + from * length, static_cast<size_t>(length));
  }
  return raw;
}

torch::Tensor gathered_labels(const int32_t* labels, const int64_t* indices, int64_t count,
                              const torch::Device& device) {
  torch::Tensor result = torch::empty({count}, staging_for(device).dtype(torch::kInt64));
  auto* out = result.data_ptr<int64_t>();
  for (int64_t i = 0; i < count; i++) out[i] = labels[indices == nullptr ? i : indices[i]];
  return result;
}

torch::Tensor on_device(const torch::Tensor& host, const torch::Device& device) {
  if (!device.is_cuda()) return host.to(device);
  if (host.is_pinned()) return host.to(device, /*non_blocking=*/true);
  const torch::Tensor staged = torch::empty(host.sizes(), staging_for(device).dtype(host.scalar_type())).copy_(host);
  return staged.to(device, /*non_blocking=*/true);
}

torch::Tensor on_host(const torch::Tensor& tensor) {
  const torch::Device device = tensor.device();
  if (!device.is_cuda()) return tensor.to(torch::kCPU).contiguous();
  const torch::Tensor result = torch::empty(tensor.sizes(), staging_for(device).dtype(tensor.scalar_type()))
                                   .copy_(tensor, /*non_blocking=*/true);
  c10::impl::VirtualGuardImpl(device.type()).getStream(device).synchronize();
  return result;
}

}  // namespace lenet5
