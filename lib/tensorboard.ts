// TensorBoard's event files, a subpath of the package (`lenet5-libtorch/tensorboard`): a table of contents.

export { lenet5Graph } from "./tensorboard/lenet5-graph.js";
export type { GraphNode, HyperParameter, PixelImage } from "./tensorboard/summaries.js";
export { SummaryWriter, type SummaryWriterOptions } from "./tensorboard/summary-writer.js";
export { TrainingLog, type TrainingResult } from "./tensorboard/training-log.js";
