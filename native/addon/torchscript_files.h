// LeNet-5's TorchScript files: comparing one with the weights it was made of. They are read in lib/formats.
#pragma once

#include <napi.h>

namespace lenet5::addon {

// verifyTorchScript(archive, weights)
Napi::Value verify_torchscript_file(const Napi::CallbackInfo& info);

}  // namespace lenet5::addon
