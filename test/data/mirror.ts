// A mirror of a data set on the loopback, which can be told to misbehave in the ways that real ones do.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** What a mirror was asked for. */
export interface MirrorRequest {
  path: string;
  range: string | undefined;
}

/** Answers one request; `contents` is the whole file. */
export type Manner = (request: IncomingMessage, response: ServerResponse, contents: Buffer) => void;

/** Sends the file, or the part of it that was asked for. */
export const honest: Manner = (request, response, contents) => {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  if (start >= contents.length) {
    response.writeHead(416, { "content-range": `bytes */${contents.length}` }).end();
    return;
  }
  const headers: Record<string, string | number> = { "content-length": contents.length - start };
  if (start > 0) headers["content-range"] = `bytes ${start}-${contents.length - 1}/${contents.length}`;
  response.writeHead(start > 0 ? 206 : 200, headers).end(contents.subarray(start));
};

/** A server on a free port of the loopback; it ends with the test. */
export class Mirror {
  readonly requests: MirrorRequest[] = [];
  readonly #server: Server;
  /** How it answers from now on. */
  manner: Manner;
  #url = "";

  private constructor(files: ReadonlyMap<string, Buffer>, manner: Manner) {
    this.manner = manner;
    this.#server = createServer((request, response) => {
      const path = request.url ?? "";
      this.requests.push({ path, range: request.headers.range });
      const contents = files.get(path.slice(1));
      if (contents === undefined) response.writeHead(404).end("not here");
      else this.manner(request, response, contents);
    });
  }

  static async start(files: ReadonlyMap<string, Buffer>, manner: Manner = honest): Promise<Mirror> {
    const mirror = new Mirror(files, manner);
    mirror.#server.listen(0, "127.0.0.1");
    await once(mirror.#server, "listening");
    mirror.#url = `http://127.0.0.1:${(mirror.#server.address() as AddressInfo).port}/`;
    onTestFinished(() => {
      mirror.#server.closeAllConnections();
      mirror.#server.close();
    });
    return mirror;
  }

  get url(): string {
    return this.#url;
  }
}
