// LeNet-5's TorchScript files: reading one, and comparing one with the weights it was made of.
#pragma once

#include <napi.h>

namespace lenet5::addon {

// readTorchScript(archive, extraFile)
Napi::Value read_torchscript_file(const Napi::CallbackInfo& info);
// verifyTorchScript(archive, weights)
Napi::Value verify_torchscript_file(const Napi::CallbackInfo& info);

}  // namespace lenet5::addon
