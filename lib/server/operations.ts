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
    server.get<{ Querystring: { model?: string | string[] } }>("/readyz", async ({ query }, reply) => {
      const models = repository.statuses();
      // A model that was given up on keeps no server from being ready for the others, unless whoever asks names it.
      const isThere = (wanted: string) => models.some(({ name, state }) => name === wanted && state === "ready");
      const ready = repository.ready && [query.model ?? []].flat().every(isThere);
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
