// How the page's files are sent: types, policies, caching.
import { afterAll, beforeAll, expect, it } from "vitest";
import { cleanUp, emptyRepository, placeLeNet5, serve } from "../models.js";

let url: string;
beforeAll(async () => {
  const folder = await emptyRepository();
  (await placeLeNet5(folder)).dispose();
  ({ url } = await serve(folder));
});
afterAll(cleanUp);

it.each([
  ["/", "text/html; charset=utf-8"],
  ["/page/page.css", "text/css; charset=utf-8"],
  ["/page/page.js", "text/javascript; charset=utf-8"],
  ["/page/icon.svg", "image/svg+xml"],
])("%s has its type, its policy and a tag", async (path, type) => {
  const response = await fetch(url + path);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe(type);
  expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  expect(response.headers.get("referrer-policy")).toBe("no-referrer");
  const policy = response.headers.get("content-security-policy")!;
  expect(policy).toMatch(/default-src 'none'; script-src 'self'; style-src 'self'/);
  expect(policy).not.toMatch(/unsafe/);
  expect(response.headers.get("cache-control")).toBe("no-cache");
  const tag = response.headers.get("etag")!;
  const again = await fetch(url + path, { headers: { "if-none-match": tag } });
  expect([again.status, await again.text()]).toEqual([304, ""]);
});

it("asks for the files under addresses that last as long as they do", async () => {
  const html = await (await fetch(url)).text();
  expect(html).not.toMatch(/<script(?![^>]* src=)|<style| on[a-z]+=| style=/);
  const paths = [...html.matchAll(/(?:href|src)="(page\/[^"]+)"/g)].map(([, path]) => path!);
  expect(paths.map((path) => path.split("?")[0]).sort()).toEqual([
    "page/icon.svg",
    "page/icon.svg",
    "page/page.css",
    "page/page.js",
  ]);
  for (const path of paths) {
    const response = await fetch(`${url}/${path}`);
    expect(response.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
  }
  const stale = await fetch(`${url}/page/page.js?0123`);
  expect(stale.headers.get("cache-control")).toBe("no-cache");
});

it("tells of models and requests, which nobody stores", async () => {
  const models = await fetch(`${url}/page/models`);
  expect(models.headers.get("cache-control")).toBe("no-store");
  expect(await models.json()).toEqual([
    {
      name: "digits",
      versions: [
        expect.objectContaining({
          version: "1",
          state: "ready",
          isDefault: true,
          kind: "lenet5",
          file: "digits/1/model.safetensors",
          inputs: [{ name: "input0", datatype: "FP32", shape: [-1, 1, 28, 28] }],
          classNames: Array.from({ length: 10 }, (_, i) => String(i)),
        }),
      ],
    },
  ]);
  const status = async () => (await (await fetch(`${url}/page/status`)).json()) as { requests: number };
  expect(await status()).toEqual({ ready: true, requests: 0, waiting: 0 });
  await fetch(`${url}/predictions/digits`, { method: "POST", body: new Uint8Array(784) });
  expect((await status()).requests).toBe(1);
});

it("takes nothing from what Prometheus reads", async () => {
  const until = performance.now() + 300;
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await fetch(`${url}/page/status`);
  const text = await (await fetch(`${url}/metrics`)).text();
  expect(Number(/^lenet5_event_loop_delay_seconds\{quantile="1"\} (\S+)/m.exec(text)?.[1])).toBeGreaterThan(0.2);
});

it("refuses other methods, and what is no file of the page", async () => {
  const posted = await fetch(url, { method: "POST", body: "x" });
  expect([posted.status, posted.headers.get("allow")]).toEqual([405, "GET"]);
  for (const path of ["/page/", "/page/../package.json", "/page/%2e%2e%2fpackage.json", "/page/page.ts"])
    expect((await fetch(url + path)).status).toBe(404);
});

it("has a token for its data, and none for itself", async () => {
  const folder = await emptyRepository();
  (await placeLeNet5(folder)).dispose();
  const guarded = await serve(folder, { inferenceToken: "secret" });
  expect((await fetch(guarded.url)).status).toBe(200);
  for (const path of ["/page/models", "/page/status"]) {
    const refused = await fetch(guarded.url + path);
    expect([refused.status, await refused.json()]).toEqual([401, { error: expect.stringContaining("token") }]);
    expect((await fetch(guarded.url + path, { headers: { authorization: "Bearer secret" } })).status).toBe(200);
  }
});

it("is not there where nobody wants it", async () => {
  const folder = await emptyRepository();
  for (const options of [{ page: false }, { protocols: ["torchserve" as const] }])
    expect((await fetch((await serve(folder, options)).url)).status).toBe(404);
});
