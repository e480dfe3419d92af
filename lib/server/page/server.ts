// What the page asks its server.
import { SIDE } from "./ink.js";

/** An input or output. */
export interface TensorSpec {
  name: string;
  datatype: string;
  shape: number[];
}

/** A version of a model. */
export interface Version {
  version: string;
  state: "loading" | "ready" | "unloading" | "unavailable";
  reason: string;
  isDefault: boolean;
  file: string;
  loadedAt: string | null;
  maxBatchSize: number;
  maxQueueDelayMicroseconds: number;
  maxQueueSize: number;
  kind: "lenet5" | "torchscript" | null;
  inputs: TensorSpec[];
  outputs: TensorSpec[];
  classNames: string[];
}

/** A model. */
export interface Model {
  name: string;
  versions: Version[];
}

/** What the server counts. */
export interface Status {
  ready: boolean;
  /** Requests for inference that it has answered. */
  requests: number;
  /** Requests that wait. */
  waiting: number;
}

/** Why the server did not answer as hoped. */
export class Refused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The server, as the page talks to it. */
export class Server {
  readonly #askForToken: (wrong: boolean) => Promise<string>;
  #token = "";
  #asking: Promise<string> | undefined;

  /** @param askForToken - asks the person; told whether the last one was wrong */
  constructor(askForToken: (wrong: boolean) => Promise<string>) {
    this.#askForToken = askForToken;
  }

  async models(): Promise<Model[]> {
    return (await (await this.#fetch("page/models")).json()) as Model[];
  }

  async status(): Promise<Status> {
    return (await (await this.#fetch("page/status")).json()) as Status;
  }

  /** Probabilities of the classes, for 784 pixels from 0 to 1. */
  async classify(model: string, version: string | undefined, spec: Version, pixels: Float32Array): Promise<number[]> {
    const [input] = spec.inputs;
    const output = spec.outputs.find(({ name }) => name === "probabilities") ?? spec.outputs[0];
    const head = new TextEncoder().encode(
      JSON.stringify({
        inputs: [
          {
            name: input?.name,
            datatype: "FP32",
            shape: [1, 1, SIDE, SIDE],
            parameters: { binary_data_size: pixels.byteLength },
          },
        ],
        outputs: [{ name: output?.name }],
      }),
    );
    const which = version === undefined ? "" : `/versions/${encodeURIComponent(version)}`;
    const answer = await this.#fetch(`v2/models/${encodeURIComponent(model)}${which}/infer`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream", "inference-header-content-length": String(head.length) },
      body: new Blob([head, pixels as Float32Array<ArrayBuffer>]),
    });
    const { outputs } = (await answer.json()) as { outputs: { data: number[] }[] };
    const data = outputs[0]?.data ?? [];
    return output?.name === "probabilities" ? data : data.map(Math.exp);
  }

  async #fetch(path: string, options: RequestInit = {}): Promise<Response> {
    for (;;) {
      const token = this.#token;
      const headers = new Headers(options.headers);
      if (token !== "") headers.set("authorization", `Bearer ${token}`);
      const response = await fetch(path, { ...options, headers, cache: "no-store" });
      if (response.status === 401) {
        // Somebody else may have asked in the meantime.
        if (token === this.#token) await this.#newToken(token !== "");
        continue;
      }
      if (!response.ok) throw new Refused(response.status, await reasonOf(response));
      return response;
    }
  }

  async #newToken(wrong: boolean): Promise<void> {
    this.#asking ??= this.#askForToken(wrong).finally(() => {
      this.#asking = undefined;
    });
    this.#token = await this.#asking;
  }
}

async function reasonOf(response: Response): Promise<string> {
  try {
    const { error, message } = (await response.json()) as { error?: string; message?: string };
    return error ?? message ?? response.statusText;
  } catch {
    return response.statusText;
  }
}
