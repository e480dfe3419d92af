// What Fastify serves at most, set up as this package's server sets it up (lib/server/application.ts): a handler that does
// nothing with the body that it has read.
import Fastify from "fastify";

const application = Fastify({
  logger: { level: "warn", stream: process.stderr },
  logController: new Fastify.LogController({ disableRequestLogging: true }),
  requestIdHeader: "x-request-id",
  bodyLimit: 16 * 2 ** 20,
  requestTimeout: 30_000,
  keepAliveTimeout: 72_000,
  return503OnClosing: false,
});
application.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
application.post("/predictions/:model", async () => ({}));
application.post("/v2/models/:model/infer", async () => ({}));
const url = await application.listen({ host: "127.0.0.1", port: 0 });
console.log(`Ready at ${url}`);
