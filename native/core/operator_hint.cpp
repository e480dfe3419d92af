#include "operator_hint.h"

#include <cctype>

namespace lenet5 {
namespace {

// The first part of an operator's name, the Python package that defines it and its library there.
struct OperatorPackage {
  const char* name_space;
  const char* package;
  const char* library;
};
constexpr OperatorPackage kPackages[] = {
    {"torchvision", "torchvision", "torchvision/_C.so"},
    {"image", "torchvision", "torchvision/image.so"},
    {"torchaudio", "torchaudio", "torchaudio/lib/libtorchaudio.so"},
    {"torchtext", "torchtext", "torchtext/lib/libtorchtext.so"},
    {"torch_scatter", "torch-scatter", "torch_scatter/_scatter_cpu.so"},
    {"torch_sparse", "torch-sparse", "torch_sparse/_spmm_cpu.so"},
    {"torch_cluster", "torch-cluster", "torch_cluster/_knn_cpu.so"},
    {"torch_spline_conv", "torch-spline-conv", "torch_spline_conv/_basis_cpu.so"},
    {"pyg", "pyg-lib", "pyg_lib/libpyg.so"},
    {"detectron2", "detectron2", "detectron2/_C.so"},
    {"fbgemm", "fbgemm-gpu", "fbgemm_gpu/fbgemm_gpu_py.so"},
    {"torchao", "torchao", "torchao/_C.abi3.so"},
    {"xformers", "xformers", "xformers/_C.so"},
};

bool is_of_name(char letter) {
  return std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '_' || letter == ':' || letter == '.';
}

// The name that follows `before` in `line`, without closing punctuation; empty where `before` is not there.
std::string name_after(const std::string& line, const std::string& before) {
  const size_t found = line.find(before);
  if (found == std::string::npos) return "";
  const size_t start = found + before.size();
  size_t end = start;
  while (end < line.size() && is_of_name(line[end])) ++end;
  while (end > start && (line[end - 1] == '.' || line[end - 1] == ':')) --end;
  return line.substr(start, end - start);
}

// What loads a library, after the words that name it.
std::string with_option(const std::string& library) {
  return " with the option operators ({ operators: [\"" + library + "\"] }), --operators or LENET5_OPERATORS";
}

std::string advice(const std::string& name, const std::string& name_space) {
  for (const OperatorPackage& each : kPackages) {
    if (name_space != each.name_space) continue;
    return name + ", which the Python package " + each.package + " has: load its library" +
           with_option(std::string("…/") + each.library);
  }
  if (name_space.empty() || name_space == "aten" || name_space == "prim" || name_space == "prims") {
    return name + ", which a newer libtorch may have";
  }
  return name + ": load the library that defines it" + with_option("….so");
}

}  // namespace

std::string unknown_operator(const std::string& line) {
  const std::string name = name_after(line, "Unknown builtin op: ");
  if (!name.empty()) {
    const size_t colon = name.find("::");
    return advice(name, colon == std::string::npos ? "" : name.substr(0, colon));
  }
  // A class of C++ that the library of a package registers.
  const std::string of_class = name_after(line, "__torch__.torch.classes.");
  const size_t dot = of_class.find('.');
  if (dot == std::string::npos) return "";
  return advice("the class " + of_class, of_class.substr(0, dot));
}

}  // namespace lenet5
