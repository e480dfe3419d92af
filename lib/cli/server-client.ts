// The other end of `lenet5 serve`: what the commands of the lifecycle ask a running server.
import { isLeNet5Error, LeNet5Error } from "../errors.js";
import { isNativeError, isObject, isUint8Array } from "../is.js";
import type { Command } from "./commander.js";
import { usageError } from "./failure.js";
import { fromEnvironment, textOption } from "./options.js";
import { tokenOf } from "./token.js";

/** What {@link addServerOptions} reads. */
export interface ServerOptions {
  url: string;
  inferenceTokenFile?: string;
  managementTokenFile?: string;
}

/** Milliseconds that one request may take; a load is answered when the model is there. */
const PATIENCE = 60_000;

/** `--url`, and the files with the tokens. */
export function addServerOptions(command: Command): Command {
  const url = textOption("--url <address>", "the server's address, for example http://127.0.0.1:8080");
  return command
    .addOption(url.env("LENET5_SERVER_URL").makeOptionMandatory())
    .addOption(
      fromEnvironment(
        textOption(
          "--inference-token-file <file>",
          "file with the server's token for inference; or LENET5_INFERENCE_TOKEN",
        ),
      ),
    )
    .addOption(
      fromEnvironment(
        textOption("--management-token-file <file>", "the same for management; or LENET5_MANAGEMENT_TOKEN"),
      ),
    );
}

/** Sends requests to one server. */
export class ServerClient {
  readonly #base: string;
  readonly #tokens: { inference: string | undefined; management: string | undefined };

  private constructor(base: string, tokens: { inference: string | undefined; management: string | undefined }) {
    this.#base = base;
    this.#tokens = tokens;
  }

  /** Reads the tokens; asks nothing yet. */
  static async of(options: ServerOptions): Promise<ServerClient> {
    return new ServerClient(baseOf(options.url), {
      inference: await tokenOf(options.inferenceTokenFile, "LENET5_INFERENCE_TOKEN"),
      management: await tokenOf(options.managementTokenFile, "LENET5_MANAGEMENT_TOKEN"),
    });
  }

  /** The address without a slash at its end. */
  get url(): string {
    return this.#base;
  }

  /** @throws LENET5_SERVER_UNREACHABLE where nobody answers, LENET5_SERVER_REFUSED */
  async requireLive(signal: AbortSignal): Promise<void> {
    await this.ask("GET", "/v2/health/live", { signal });
  }

  /**
   * Has the server look for a version that was put into its folder, and load it; resolves when it is loaded.
   *
   * Problem: a new version is found by a request that loads all of the model's, which is refused where any of them is damaged, at
   * once, while others are still being loaded. Resolution: then the one version, which is known by now, is asked for by itself.
   */
  async load(name: string, version: string, signal: AbortSignal): Promise<void> {
    try {
      await this.ask("POST", `/v2/repository/models/${name}/load`, { signal, body: {} });
    } catch (error) {
      if (!isLeNet5Error(error) || error.code !== "LENET5_SERVER_REFUSED") throw error;
      // A server that does not know it has said in the first answer why.
      await this.ask("PUT", `/models/${name}/${version}?min_worker=1`, { signal }).catch((own: unknown) => {
        throw isLeNet5Error(own) && / received 404: /.test(own.message) ? error : own;
      });
    }
  }

  /**
   * That a version is loaded, as those who manage the server see it: a load succeeds where any version of the model was found, which
   * on a server of another folder is not this one.
   * @throws LENET5_SERVER_REFUSED
   */
  async requireLoaded(name: string, version: string, signal: AbortSignal): Promise<void> {
    const index = await this.ask("POST", "/v2/repository/index", { signal, body: { ready: true } });
    const isThere = (each: unknown) => isObject(each) && each.name === name && each.version === version;
    if (Array.isArray(index) && index.some(isThere)) return;
    const what = `${name} ${version} to be loaded by ${this.#base}`;
    const received = "a server that has not found it: does it serve this folder of models?";
    throw new LeNet5Error("SERVER_REFUSED", `Expected ${what} but received ${received}`);
  }

  /** Has the server let a version go; one that it does not know has gone already. */
  async unregister(name: string, version: string, signal: AbortSignal): Promise<void> {
    await this.ask("DELETE", `/models/${name}/${version}`, { signal, alsoWell: 404 });
  }

  /** Whether a version answers. @throws LENET5_SERVER_UNREACHABLE */
  async isReady(name: string, version: string, signal: AbortSignal): Promise<boolean> {
    const { ok } = await this.#send("GET", `/v2/models/${name}/versions/${version}/ready`, { signal });
    return ok;
  }

  /**
   * One request and its answer, parsed where it is JSON.
   * @throws LENET5_SERVER_UNREACHABLE, LENET5_SERVER_REFUSED for an answer that is neither 2xx nor `alsoWell`
   */
  async ask(method: string, path: string, options: Asked & { alsoWell?: number }): Promise<unknown> {
    const { ok, status, value } = await this.#send(method, path, options);
    if (ok || status === options.alsoWell) return value;
    const words = `Expected ${method} ${path} to be done by ${this.#base} but received ${status}: ${reasonOf(value)}`;
    throw new LeNet5Error("SERVER_REFUSED", words);
  }

  async #send(
    method: string,
    path: string,
    { body, signal }: Asked,
  ): Promise<{ ok: boolean; status: number; value: unknown }> {
    const bytes = isUint8Array(body);
    const isManagement = method === "DELETE" || method === "PUT" || path.startsWith("/v2/repository/");
    const token = isManagement ? this.#tokens.management : this.#tokens.inference;
    const ending = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
    try {
      const response = await fetch(this.#base + path, {
        method,
        signal: ending,
        headers: {
          ...(body === undefined ? {} : { "content-type": bytes ? "image/png" : "application/json" }),
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        ...(body === undefined ? {} : { body: bytes ? Buffer.from(body) : JSON.stringify(body) }),
      });
      const text = await response.text();
      return { ok: response.ok, status: response.status, value: parsed(text) };
    } catch (cause) {
      if (signal.aborted) throw new LeNet5Error("ABORTED", "The command was interrupted", { cause });
      const words = `Expected a server for ${this.#base} but received ${causeOf(cause)}`;
      throw new LeNet5Error("SERVER_UNREACHABLE", words, { cause });
    }
  }
}

interface Asked {
  signal: AbortSignal;
  /** A PNG as bytes, else what becomes JSON. */
  body?: object;
}

/** Whether a request failed because nobody listens at the address, so that no server serves anything there. */
export function nobodyListens(error: unknown): error is LeNet5Error {
  if (!isLeNet5Error(error) || error.code !== "LENET5_SERVER_UNREACHABLE") return false;
  const { cause } = isNativeError(error.cause) ? error.cause : {};
  return isObject(cause) && cause.code === "ECONNREFUSED";
}

function baseOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const isPlain = parsed !== undefined && /^https?:$/.test(parsed.protocol) && parsed.username + parsed.password === "";
  if (isPlain) return (parsed.origin + parsed.pathname).replace(/\/+$/, "");
  throw usageError("INVALID_OPTION", "an address (http:// or https://, no user, no password)", "--url", concealed(url));
}

/** An address as a log may have it: what stands before an @ may be a password. */
function concealed(url: string): string {
  return url.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1…@");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What an error's body says. */
function reasonOf(value: unknown): string {
  const { error, message } = isObject(value) ? (value as { error?: unknown; message?: unknown }) : {};
  const said = error ?? message ?? value;
  return (typeof said === "string" ? said : JSON.stringify(said)).slice(0, 500);
}

/** Why there was no answer: fetch says only that it failed, and the rest in what caused that. */
function causeOf(error: unknown): string {
  if (!isNativeError(error)) return String(error);
  const { cause } = error;
  if (error.name === "TimeoutError") return `no answer within ${PATIENCE / 1000} s`;
  if (!isNativeError(cause)) return error.message;
  return cause.message || String((cause as NodeJS.ErrnoException).code ?? cause.name);
}
