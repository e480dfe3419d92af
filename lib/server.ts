// The server, a subpath of the package (`lenet5-libtorch/server`): a table of contents.

export type { DType, DTypeArrays, Tensor, TensorData } from "./index.js";
export { createServer, type Server, type ServerAddress } from "./server/create-server.js";
export type { ImageConfig, ModelConfig } from "./server/model-config.js";
export type { BatchLimits, ModelRepository, VersionStatus } from "./server/model-repository.js";
export type { LogLevel, PortName, ProtocolName, ServerOptions } from "./server/options.js";
export type {
  InferOptions,
  Inputs,
  ModelDescription,
  RawRequest,
  ServedModel,
  TensorSpec,
} from "./server/served-model.js";
