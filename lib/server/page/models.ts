// The choice of a model and version, and what is known of it.
import { count, element, make } from "./elements.js";
import { SIDE } from "./ink.js";
import type { Model, Server, TensorSpec, Version } from "./server.js";

/** Milliseconds between two looks at what is there. */
const INTERVAL = 2000;

/** What is asked. */
export interface Chosen {
  readonly model: string;
  /** Undefined for the default one. */
  readonly version: string | undefined;
  readonly spec: Version;
  /** Whether a drawing can be put to it. */
  readonly drawable: boolean;
}

/** The part of the page that chooses. */
export class ModelChoice {
  readonly #server: Server;
  readonly #onChange: () => void;
  readonly #model = element("model", HTMLSelectElement);
  readonly #version = element("version", HTMLSelectElement);
  readonly #facts = element("facts", HTMLElement);
  #models: Model[] = [];
  #shown = "";

  constructor(server: Server, onChange: () => void) {
    this.#server = server;
    this.#onChange = onChange;
    this.#model.addEventListener("change", () => {
      this.#version.value = "";
      this.#show();
      onChange();
    });
    this.#version.addEventListener("change", () => {
      this.#show();
      onChange();
    });
  }

  /** Looks now and from time to time. */
  async start(): Promise<void> {
    for (;;) {
      try {
        this.#take(await this.#server.models());
      } catch {
        // The chip at the top says that the server is away.
      }
      await new Promise((resolve) => setTimeout(resolve, INTERVAL));
      while (document.hidden) await new Promise((resolve) => setTimeout(resolve, INTERVAL));
    }
  }

  get chosen(): Chosen | undefined {
    const model = this.#models.find(({ name }) => name === this.#model.value);
    if (model === undefined) return undefined;
    const version = this.#version.value || undefined;
    const spec = model.versions.find((each) => (version === undefined ? each.isDefault : each.version === version));
    if (spec === undefined) return undefined;
    return { model: model.name, version, spec, drawable: isDrawable(spec) };
  }

  #take(models: Model[]): void {
    const text = JSON.stringify(models);
    if (text === this.#shown) return;
    this.#shown = text;
    this.#models = models;
    const before = this.chosen;
    // The first time, one that reads drawings.
    const wanted = this.#model.value || (models.find(({ versions }) => versions.some(isDrawable)) ?? models[0])?.name;
    fill(
      this.#model,
      models.map(({ name }) => [name, name]),
      wanted,
    );
    this.#show();
    if (this.chosen?.spec.loadedAt !== before?.spec.loadedAt || before === undefined) this.#onChange();
  }

  #show(): void {
    const model = this.#models.find(({ name }) => name === this.#model.value);
    const newest = model?.versions.find(({ isDefault }) => isDefault);
    const versions = (model?.versions ?? []).map(({ version, state }): [string, string] => [
      version,
      state === "ready" ? version : `${version} (${state})`,
    ]);
    const standard: [string, string] = ["", newest === undefined ? "default" : `default (${newest.version})`];
    fill(this.#version, model === undefined ? [] : [standard, ...versions], this.#version.value);
    const spec = this.chosen?.spec;
    this.#facts.replaceChildren(...(spec === undefined ? [] : factsOf(spec)).flat());
    if (this.#models.length === 0)
      this.#facts.replaceChildren(make("dt", "", "No models"), make("dd", "", "The repository is empty."));
  }
}

function fill(select: HTMLSelectElement, entries: readonly [string, string][], value: string | undefined): void {
  select.replaceChildren(...entries.map(([key, text]) => new Option(text, key, false, key === value)));
  select.disabled = entries.length === 0;
}

/** A drawing is one grey image of 28×28. */
function isDrawable({ kind, inputs }: Version): boolean {
  return kind === "lenet5" && inputs.length === 1 && inputs[0]!.shape.slice(1).join() === `1,${SIDE},${SIDE}`;
}

const KINDS = { lenet5: "LeNet-5", torchscript: "TorchScript module" };

function factsOf(spec: Version): HTMLElement[][] {
  const rows: [string, string][] = [
    ["Kind", spec.kind === null ? "not loaded" : KINDS[spec.kind]],
    ["State", spec.reason === "" ? spec.state : `${spec.state}: ${spec.reason}`],
    ["Takes", tensors(spec.inputs)],
    ["Gives", tensors(spec.outputs)],
    ["Batches", `up to ${count(spec.maxBatchSize)}, waiting ${count(spec.maxQueueDelayMicroseconds)} µs for company`],
    ["Queue", `up to ${count(spec.maxQueueSize)} requests`],
    ["File", spec.file],
  ];
  if (spec.loadedAt !== null) rows.push(["Loaded", new Date(spec.loadedAt).toLocaleString("en-GB")]);
  return rows.filter(([, text]) => text !== "").map(([name, text]) => [make("dt", "", name), make("dd", "", text)]);
}

function tensors(specs: readonly TensorSpec[]): string {
  return specs
    .map(({ name, datatype, shape }) => {
      const sizes = shape.map((size) => (size === -1 ? "N" : size)).join(" × ");
      return `${name}: ${datatype || "any"}${sizes === "" ? "" : ` ${sizes}`}`;
    })
    .join(", ");
}
