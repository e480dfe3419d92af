// LeNet-5's TorchScript files: writing one, and comparing one with the weights it was made of. They are read in
// lib/formats, without libtorch.
#pragma once

#include <napi.h>

namespace lenet5::addon {

// exportTorchScript({ numClasses, mean, std, parameters }, { name: text, … }): the archive, and the weights that
// verifyTorchScript compares it with.
Napi::Value export_torchscript_file(const Napi::CallbackInfo& info);

// verifyTorchScript(archive, weights)
Napi::Value verify_torchscript_file(const Napi::CallbackInfo& info);

}  // namespace lenet5::addon
