// Prints lib/libtorch/pinned-wheels.ts anew: fetches each of the pinned version's wheels whole, holds it against the package
// index's SHA-256, and takes the SHA-256 of its RECORD. Run it when the pinned version changes; 1.2 GB come over the network.
//
//   node scripts/pinned-wheels.mjs > lib/libtorch/pinned-wheels.ts
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { fromBufferPromise } from "yauzl";
import { main, root, StepFailed } from "./shared.mjs";

const PYTHON = "cp312";
const INDEX = (process.env.PIP_INDEX_URL || "https://pypi.org/simple").replace(/\/$/, "");

await main(async () => {
  const { PINNED_LIBTORCH_VERSION: version } = await import(
    pathToFileURL(join(root, "build/esm/libtorch/find.js")).href
  );
  const accept = "application/vnd.pypi.simple.v1+json";
  const { files } = await (await fetch(`${INDEX}/torch/`, { headers: { accept } })).json();
  const prefix = `torch-${version}-${PYTHON}-${PYTHON}-`;
  const lines = [];
  for (const { filename, url, hashes } of files) {
    if (!filename.startsWith(prefix) || !filename.endsWith(".whl")) continue;
    console.error(filename);
    const bytes = Buffer.from(await (await fetch(new URL(url, `${INDEX}/torch/`))).arrayBuffer());
    const actual = createHash("sha256").update(bytes).digest("hex");
    if (actual !== hashes.sha256) throw new StepFailed(`Expected SHA-256 ${hashes.sha256} but received ${actual}`);
    const zip = await fromBufferPromise(bytes);
    for await (const entry of zip.eachEntry()) {
      if (!entry.fileName.endsWith(".dist-info/RECORD")) continue;
      const hash = createHash("sha256");
      for await (const chunk of await zip.openReadStreamPromise(entry)) hash.update(chunk);
      lines.push(`  "${filename}":\n    "${hash.digest("hex")}",`);
    }
  }
  const file = join(root, "lib", "libtorch", "pinned-wheels.ts");
  const head = readFileSync(file, "utf8").split("= {")[0];
  console.log(`${head}= {\n${lines.join("\n")}\n};`);
});
