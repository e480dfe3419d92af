// The page at `/`: draw a digit and see what a model reads in it. Its sources are in lib/server/page; the build puts what a
// browser takes into dist/page.json (scripts/typescript.mjs). It asks for inference as any other client does; what it shows of
// models and throughput has two addresses of its own.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { FastifyReply, FastifyRequest } from "fastify";
import { packageRoot } from "#package-root";
import { datatypeOf } from "../datatypes.js";
import type { ModelRepository, VersionStatus } from "../model-repository.js";
import type { Protocol } from "../protocol.js";
import { addEndpoint, NOTHING } from "../protocol-scope.js";
import { refusalOf, refuseWith } from "../refusal.js";
import type { ModelDescription, TensorSpec } from "../served-model.js";

const TYPES = {
  "index.html": "text/html; charset=utf-8",
  "page.css": "text/css; charset=utf-8",
  "page.js": "text/javascript; charset=utf-8",
  "icon.svg": "image/svg+xml",
};
type FileName = keyof typeof TYPES;

/** Nothing but the page's own files and server: a string that got into it could not run, nor send anything away. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const HEADERS = {
  "content-security-policy": POLICY,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};

interface File {
  readonly body: Buffer;
  readonly type: string;
  readonly tag: string;
}

/** The page, its files and what it asks: `/`, `/page/…`. */
export const page: Protocol = (context) => async (app) => {
  const { repository, metrics, guard } = context;
  let files: Record<FileName, File> | undefined;
  await app.register(async (scope) => {
    scope.setErrorHandler((error, request, reply) => {
      const { status, message } = refusalOf(error, request.log);
      return refuseWith(reply, status).headers(HEADERS).send({ error: message });
    });
    const serve = (path: string, name: FileName): void => {
      const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
        files ??= readFiles();
        return send(files[name], request, reply);
      };
      // OPTIONS of "/" is TorchServe's, where that is spoken.
      addEndpoint(scope, path, { GET: { schema: NOTHING, handler } }, path === "/" ? ["OPTIONS"] : []);
    };
    serve("/", "index.html");
    for (const name of ["page.css", "page.js", "icon.svg"] as const) serve(`/page/${name}`, name);

    await scope.register(async (data) => {
      data.addHook("onRequest", guard.inference);
      data.addHook("onSend", async (_request, reply) => {
        reply.headers({ ...HEADERS, "cache-control": "no-store" });
      });
      const models = async (): Promise<object[]> => modelsOf(repository);
      const status = async (): Promise<object> => ({
        ready: repository.ready,
        requests: metrics.requests,
        waiting: repository.statuses().reduce((sum, { queued }) => sum + queued, 0),
      });
      addEndpoint(data, "/page/models", { GET: { schema: NOTHING, handler: models } });
      addEndpoint(data, "/page/status", { GET: { schema: NOTHING, handler: status } });
    });
  });
};

function readFiles(): Record<FileName, File> {
  const texts = JSON.parse(readFileSync(join(packageRoot, "dist", "page.json"), "utf8")) as Record<FileName, string>;
  const file = (name: FileName, text = texts[name]): File => ({
    body: Buffer.from(text),
    type: TYPES[name],
    tag: createHash("sha256").update(text).digest("hex").slice(0, 20),
  });
  const files = { "page.css": file("page.css"), "page.js": file("page.js"), "icon.svg": file("icon.svg") };
  // Addresses that change with what is behind them: the page itself is asked for each time, the rest but once.
  const html = texts["index.html"].replace(
    /page\/(page\.css|page\.js|icon\.svg)/g,
    (path, name: keyof typeof files) => `${path}?${files[name].tag}`,
  );
  return { ...files, "index.html": file("index.html", html) };
}

function send({ body, type, tag }: File, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const lasting = request.url.endsWith(`?${tag}`);
  reply.headers({
    ...HEADERS,
    "cache-control": lasting ? "public, max-age=31536000, immutable" : "no-cache",
    etag: `"${tag}"`,
  });
  if (request.headers["if-none-match"] === `"${tag}"`) return reply.code(304).send();
  return reply.type(type).send(body);
}

/** Every model with its versions, as page/server.ts reads them. */
function modelsOf(repository: ModelRepository): object[] {
  const models = new Map<string, object[]>();
  for (const status of repository.statuses()) {
    const versions = models.get(status.name) ?? [];
    models.set(status.name, [...versions, versionOf(status, descriptionOf(repository, status))]);
  }
  return [...models].map(([name, versions]) => ({ name, versions }));
}

function descriptionOf(repository: ModelRepository, status: VersionStatus): ModelDescription | undefined {
  if (status.state !== "ready") return undefined;
  try {
    return repository.model(status.name, status.version).description;
  } catch {
    return undefined; // let go of in this very moment
  }
}

function versionOf(status: VersionStatus, description: ModelDescription | undefined): object {
  const { name: _, queued: __, loadedAt, ...rest } = status;
  return {
    ...rest,
    loadedAt: loadedAt?.toISOString() ?? null,
    kind: description?.kind ?? null,
    inputs: (description?.inputs ?? []).map(specOf),
    outputs: (description?.outputs ?? []).map(specOf),
    classNames: description?.classNames ?? [],
  };
}

function specOf({ name, dtype, shape }: TensorSpec): object {
  return { name, datatype: dtype === undefined ? "" : datatypeOf(dtype), shape: shape ?? [] };
}
