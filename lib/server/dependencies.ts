// The packages that the server alone needs. They are peer dependencies that need not be there: whoever only trains or
// predicts installs none of them.
import type { Busboy } from "@fastify/busboy";
import type Grpc from "@grpc/grpc-js";
import type Fastify from "fastify";
import type PromClient from "prom-client";
import { LeNet5Error } from "../errors.js";
import { isNativeError, isObject } from "../is.js";
import { lazily } from "../lazily.js";

const HTTP = ["fastify", "@fastify/busboy", "prom-client"];
const GRPC = ["@grpc/grpc-js"];

/** Fastify. @throws LENET5_DEPENDENCY_MISSING, with the command that installs it; so below */
export const fastify = needed<typeof Fastify>("fastify", HTTP);
/** Reads multipart bodies. */
export const busboy = needed<typeof Busboy>("@fastify/busboy", HTTP);
/** Counts for Prometheus. */
export const promClient = needed<typeof PromClient>("prom-client", HTTP);
/** Speaks gRPC. */
export const grpc = needed<typeof Grpc>("@grpc/grpc-js", GRPC);

function needed<T>(name: string, together: readonly string[]): () => T {
  const load = lazily<T>(name);
  return () => {
    try {
      return load();
    } catch (cause) {
      if (!isObject(cause) || cause.code !== "MODULE_NOT_FOUND") throw cause;
      const words = isNativeError(cause) ? cause.message.split("\n")[0] : "";
      throw new LeNet5Error(
        "DEPENDENCY_MISSING",
        `Expected the package ${name} for the server but received none: run npm install ${together.join(" ")} (${words})`,
        { cause },
      );
    }
  };
}
