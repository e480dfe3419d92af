// LeNet-5 as a graph of operations, under PyTorch's names of its parameters.
import { wholeNumber } from "../options.js";
import type { GraphNode } from "./summaries.js";

/**
 * LeNet-5's graph, from pixels to log-probabilities, for `SummaryWriter.graph`.
 * @param numClasses - outputs of the last layer
 * @throws LENET5_INVALID_OPTION
 */
export function lenet5Graph(numClasses = 10): GraphNode[] {
  wholeNumber(numClasses, "numClasses", 1);
  const nodes: GraphNode[] = [];
  let last: string[] = [];
  const add = (name: string, op: string, shape: number[]): void => {
    nodes.push({ name, op, inputs: last, shape });
    last = [name];
  };
  const layer = (name: string, op: string, weight: number[], shape: number[]): void => {
    const parameters = [`${name}/weight`, `${name}/bias`];
    nodes.push({ name: parameters[0]!, op: "Parameter", shape: weight });
    nodes.push({ name: parameters[1]!, op: "Parameter", shape: [weight[0]!] });
    last = [...last, ...parameters];
    add(`${name}/${op}`, op, shape);
  };
  add("input", "Placeholder", [-1, 1, 28, 28]);
  add("pad", "Pad", [-1, 1, 32, 32]);
  add("normalise", "Normalise", [-1, 1, 32, 32]);
  layer("c1", "Conv2D", [6, 1, 5, 5], [-1, 6, 28, 28]);
  add("c1/Relu", "Relu", [-1, 6, 28, 28]);
  add("s2", "MaxPool", [-1, 6, 14, 14]);
  layer("c3", "Conv2D", [16, 6, 5, 5], [-1, 16, 10, 10]);
  add("c3/Relu", "Relu", [-1, 16, 10, 10]);
  add("s4", "MaxPool", [-1, 16, 5, 5]);
  layer("c5", "Conv2D", [120, 16, 5, 5], [-1, 120, 1, 1]);
  add("c5/Relu", "Relu", [-1, 120, 1, 1]);
  add("flatten", "Flatten", [-1, 120]);
  layer("f6", "Linear", [84, 120], [-1, 84]);
  add("f6/Relu", "Relu", [-1, 84]);
  layer("output", "Linear", [numClasses, 84], [-1, numClasses]);
  add("log_probabilities", "LogSoftmax", [-1, numClasses]);
  return nodes;
}
