// What whoever runs the server asks it: is it alive, is it ready, what has it counted.
import type { FastifyPluginAsync } from "fastify";
import type { ProtocolContext } from "./protocol.js";

/** `/livez`, `/readyz` and `/metrics`. */
export function operations({
  repository,
  metrics,
}: Pick<ProtocolContext, "repository" | "metrics">): FastifyPluginAsync {
  return async (server) => {
    // Alive: this answers. Whether models are loaded is another question, which a restart would not answer better.
    server.get("/livez", async () => ({ live: true }));
    server.get("/readyz", async (_request, reply) => {
      const models = repository.statuses();
      const ready = repository.ready;
      reply.status(ready ? 200 : 503);
      return { ready, models: models.map(({ name, version, state }) => ({ name, version, state })) };
    });
    server.get("/metrics", async (_request, reply) => {
      const { contentType, body } = await metrics.text();
      reply.type(contentType);
      return body;
    });
  };
}
