// A server of one file on this machine, whose manners with ranges can be made bad.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Answers one request. */
export type Manner = (request: IncomingMessage, response: ServerResponse, server: RangeServer) => void;

/** The range that a request asks for; the whole file without one. */
export function rangeOf(request: IncomingMessage, bytes: Buffer): { start: number; end: number } {
  const [, start, last] = /^bytes=(\d+)-(\d+)$/.exec(String(request.headers.range)) ?? [];
  return { start: Number(start ?? 0), end: last === undefined ? bytes.length : Number(last) + 1 };
}

/** Ranges as RFC 9110 has them, If-Range included. */
export const honest: Manner = (request, response, { bytes, headers }) => {
  const version = headers.etag ?? headers["last-modified"];
  const condition = request.headers["if-range"];
  if (request.headers.range === undefined || (condition !== undefined && condition !== version)) {
    response.writeHead(200, { ...headers, "content-length": bytes.length }).end(bytes);
    return;
  }
  const { start, end } = rangeOf(request, bytes);
  response
    .writeHead(206, {
      ...headers,
      "content-length": end - start,
      "content-range": `bytes ${start}-${end - 1}/${bytes.length}`,
    })
    .end(bytes.subarray(start, end));
};

/** Such a server; `requests` has what it was asked for. */
export class RangeServer {
  bytes: Buffer = Buffer.alloc(0);
  headers: Record<string, string> = { etag: '"first"' };
  manner: Manner = honest;
  readonly requests: IncomingMessage[] = [];
  /** Bytes that were asked for. */
  asked = 0;
  #server: Server | undefined;
  address = "";

  static async start(bytes: Buffer): Promise<RangeServer> {
    const made = new RangeServer();
    made.bytes = bytes;
    const server = createServer((request, response) => {
      made.requests.push(request);
      const { start, end } = rangeOf(request, made.bytes);
      made.asked += end - start;
      made.manner(request, response, made);
    });
    made.#server = server;
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    made.address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return made;
  }

  close(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }
}
