// `lenet5 smoke-test`
import { LeNet5Error } from "../../errors.js";
import { isObject } from "../../is.js";
import { addExamples, perform } from "../command.js";
import type { Command } from "../commander.js";
import { addDataOptions, type DataOptions, inClassesOf, loadPart } from "../data-source.js";
import { addDeployedModelOptions, type DeployedModelOptions } from "../deployment.js";
import { addModelOption, openModel } from "../model.js";
import { addJsonOption, wholeOption } from "../options.js";
import { addServerOptions, ServerClient, type ServerOptions } from "../server-client.js";

interface SmokeTestOptions extends DataOptions, DeployedModelOptions, ServerOptions {
  model: string;
  count: number;
}

const SIDE = 28;
const PIXELS = SIDE * SIDE;

/** Digits to ask about: `pixels` has floats in 0..1, `labels` what the model's own file answers. */
interface Question {
  pixels: Float32Array;
  images: Uint8Array;
  labels: readonly number[];
}

/** Asks by one protocol; gives the class of each digit. */
type Asking = (client: ServerClient, path: string, question: Question, signal: AbortSignal) => Promise<number[]>;

/** Each protocol with the address of a version. */
const PROTOCOLS: Readonly<Record<string, { path: (name: string, version: string) => string; ask: Asking }>> = {
  "open-inference": { path: (name, version) => `/v2/models/${name}/versions/${version}/infer`, ask: openInference },
  "tensorflow-serving": { path: (name, version) => `/v1/models/${name}/versions/${version}:predict`, ask: tensorFlow },
  torchserve: { path: (name, version) => `/predictions/${name}/${version}`, ask: torchServe },
};

/** Adds the command. */
export function smokeTestCommand(program: Command): void {
  const command = program
    .command("smoke-test")
    .description(
      "Send test images to a version of a model on a server, by each of its REST protocols, and hold the answers against those of the model's file.",
    );
  addModelOption(command);
  addServerOptions(addDeployedModelOptions(addDataOptions(command))).addOption(
    wholeOption("--count <n>", "images to send by each protocol", 1, 1000).default(20),
  );
  addJsonOption(command);
  addExamples(
    command,
    "lenet5 smoke-test --model lenet5.pt --data mnist --url http://127.0.0.1:8080 --model-name digits --model-version 8",
  );
  perform<SmokeTestOptions>(command, async ({ options, output, signal }) => {
    const { modelName, modelVersion } = options;
    const client = await ServerClient.of(options);
    using model = await openModel({ ...options, device: "cpu", engine: "auto" }, signal);
    const dataset = inClassesOf(model.classNames, await loadPart(options, output, signal));
    const count = Math.min(options.count, dataset.count);
    const images = dataset.images.slice(0, count * PIXELS);
    const labels = Array.from((await model.predict(images, { signal })).labels);
    const question = { images, labels, pixels: Float32Array.from(images, (pixel) => pixel / 255) };
    for (const [protocol, { path, ask }] of Object.entries(PROTOCOLS)) {
      const answers = await ask(client, path(modelName, modelVersion), question, signal);
      compare(answers, labels, `${modelName} ${modelVersion} by ${protocol}`);
    }
    const right = labels.filter((label, i) => label === dataset.labels[i]).length;
    const protocols = Object.keys(PROTOCOLS);
    output.print(`Right answers by ${protocols.join(", ")}: those of ${options.model} to ${count} digits`);
    output.finish({ name: modelName, version: modelVersion, digits: count, right, protocols, url: client.url });
  });
}

function compare(answers: readonly number[], labels: readonly number[], where: string): void {
  const at = labels.findIndex((label, i) => answers[i] !== label);
  if (at === -1 && answers.length === labels.length) return;
  const received = at === -1 ? `${answers.length} answers` : `class ${answers[at]}`;
  const words = `Expected class ${labels[Math.max(at, 0)]}, as the file answers, for digit ${at + 1} of ${where} but received ${received}`;
  throw new LeNet5Error("ANSWER_MISMATCH", words);
}

async function openInference(client: ServerClient, path: string, question: Question, signal: AbortSignal) {
  const { pixels, labels } = question;
  const shape = [labels.length, 1, SIDE, SIDE];
  const body = { inputs: [{ name: "input0", shape, datatype: "FP32", data: Array.from(pixels) }] };
  const answer = (await client.ask("POST", path, { body, signal })) as { outputs?: { data?: unknown }[] };
  const flat = numbersOf(answer.outputs?.[0]?.data);
  const classes = flat.length / labels.length;
  return labels.map((_, i) => largest(flat.slice(i * classes, (i + 1) * classes)));
}

async function tensorFlow(client: ServerClient, path: string, question: Question, signal: AbortSignal) {
  const { pixels, labels } = question;
  const row = (i: number, y: number) => Array.from(pixels.subarray(i * PIXELS + y * SIDE, i * PIXELS + (y + 1) * SIDE));
  const instances = labels.map((_, i) => [Array.from({ length: SIDE }, (_row, y) => row(i, y))]);
  const answer = (await client.ask("POST", path, { body: { instances }, signal })) as { predictions?: unknown };
  return Array.isArray(answer.predictions) ? answer.predictions.map((each) => largest(numbersOf(each))) : [];
}

async function torchServe(client: ServerClient, path: string, question: Question, signal: AbortSignal) {
  const sharp = (await import("../../data/sharp.js")).sharp();
  const answers: number[] = [];
  for (const i of question.labels.keys()) {
    const raw = { width: SIDE, height: SIDE, channels: 1 } as const;
    const pixels = question.images.subarray(i * PIXELS, (i + 1) * PIXELS);
    const body = await sharp(pixels, { raw }).toColourspace("b-w").png().toBuffer();
    const answer = await client.ask("POST", path, { body, signal });
    const probabilities = isObject(answer) ? numbersOf(answer.probabilities) : [];
    answers.push(largest(probabilities));
  }
  return answers;
}

function numbersOf(value: unknown): number[] {
  return Array.isArray(value) ? value.flat(Number.POSITIVE_INFINITY).map(Number) : [];
}

/** Index of the largest; NaN is nobody's. */
function largest(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}
