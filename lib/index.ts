// The public API: a table of contents.

export type { BlobLike, Bytes } from "./byte-source.js";
export {
  CompiledModule,
  type CompiledModuleInspection,
  type CompiledModuleOptions,
  type CompiledRunOptions,
  type PackageInspection,
} from "./compiled-module.js";
export { type ContactSheetOptions, contactSheet } from "./data/contact-sheet.js";
export {
  type Dataset,
  type DatasetPair,
  type Normalization,
  normalizationOf,
  splitDataset,
  subsetOf,
} from "./data/dataset.js";
export { fashionMnist } from "./data/fashion-mnist.js";
export * as idx from "./data/idx.js";
export { type DecodeDigitsOptions, decodeDigit, decodeDigitSync, decodeDigits } from "./data/image.js";
export * as imageFolder from "./data/image-folder.js";
export type { EncodedImage, ImageDataLike, ImageSource } from "./data/image-source.js";
export { type ImageTensorOptions, imageTensor } from "./data/image-tensor.js";
export { mnist } from "./data/mnist.js";
export type { NamedDataset, NamedDatasetOptions } from "./data/named-dataset.js";
export * as syntheticDigits from "./data/synthetic-digits.js";
export type { DistributedOptions } from "./distributed/rendezvous.js";
export type { DownloadProgress } from "./download.js";
export { ERRORS, type ErrorCode, type ErrorName, isLeNet5Error, LeNet5Error } from "./errors.js";
export { exportSafetensors } from "./export/export-safetensors.js";
export type { ExportableModel, ExportOptions } from "./export/exportable-model.js";
export { exportModelArchive, type ModelArchiveOptions } from "./export/model-archive.js";
export { exportOnnx } from "./export/onnx.js";
export { type ModelArchive, readModelArchive } from "./export/read-model-archive.js";
export {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from "./formats/half.js";
export { imageFormatOf } from "./formats/image-signature.js";
export type { ModelSource } from "./formats/model-bytes.js";
export { readSafetensors, type SafetensorsContents, safetensorsBytes } from "./formats/safetensors.js";
export type {
  AugmentationOptions,
  EarlyStoppingOptions,
  EpochEvent,
  FitEvent,
  FitOptions,
  LabelledImages,
  ProgressEvent,
} from "./lenet5/fit-options.js";
export type { ClassMetrics, Metrics } from "./lenet5/metrics.js";
export type { DeviceOptions, LeNet5Options, LoadOptions, StateDictOptions } from "./lenet5/model-options.js";
export type { ImageFileInput, ImageInput, PixelInput } from "./lenet5/pixels.js";
export {
  AUGMENTED_RECIPE,
  type Augmentation,
  DEFAULT_AUGMENTATION,
  DEFAULT_RECIPE,
  type Recipe,
} from "./lenet5/recipe.js";
export type {
  CallOptions,
  EvaluateOptions,
  Evaluation,
  Prediction,
  PredictionWithTop,
  PredictOptions,
  PredictSyncOptions,
} from "./lenet5/results.js";
export type { StateDict } from "./lenet5/state-dict.js";
export type { TopClass } from "./lenet5/top-classes.js";
export { type History, TrainingRun } from "./lenet5/training-run.js";
export { LeNet5 } from "./lenet5.js";
export { devices, getNumThreads, instructionSets, libtorchVersion, setNumThreads } from "./runtime.js";
export { emitTypes } from "./script-module/emit-types.js";
export { formatInspection } from "./script-module/format-inspection.js";
export type {
  ModuleInspection,
  ScriptArgument,
  ScriptAttribute,
  ScriptMethod,
  ScriptTensorInfo,
  ScriptType,
} from "./script-module/inspection.js";
export { TensorHandle } from "./script-module/tensor-handle.js";
export { type FloatValue, float, type ScriptInput, type ScriptValue } from "./script-module/values.js";
export {
  type RunOptions,
  type RunSyncOptions,
  ScriptModule,
  type ScriptModuleOptions,
  type TensorsOptions,
  type WarmUpOptions,
} from "./script-module.js";
export type { DType, DTypeArrays, Float16Data, Tensor, TensorData } from "./tensor.js";
