// Repositories of models in temporary folders, and servers on them.
import { copyFile, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportModelArchive, exportSafetensors, LeNet5 } from "../../lib/index.js";
import { createServer, type Server, type ServerOptions } from "../../lib/server.js";
import { fixture } from "../script-module/expected.js";

/** A folder for models, removed by {@link cleanUp}. */
export async function emptyRepository(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lenet5-models-"));
  folders.push(folder);
  return folder;
}

const folders: string[] = [];
const servers: Server[] = [];

/** Puts a file where a version's is, as one would: beside it first, then renamed. */
export async function placeFile(
  folder: string,
  name: string,
  version: string,
  file: string,
  from: string,
): Promise<void> {
  const place = join(folder, name, version);
  await mkdir(place, { recursive: true });
  await copyFile(from, join(place, `.${file}`));
  await rename(join(place, `.${file}`), join(place, file));
}

/** A LeNet-5 of these initial weights, as a version; a .pt, .mar or .safetensors. */
export async function placeLeNet5(
  folder: string,
  { name = "digits", version = "1", seed = 1, file = "model.safetensors" } = {},
): Promise<LeNet5> {
  const model = new LeNet5({ seed });
  const place = join(folder, name, version);
  await mkdir(place, { recursive: true });
  const path = join(place, `.${file}`);
  if (file.endsWith(".pt")) await model.save(path);
  else if (file.endsWith(".mar")) await exportModelArchive(model, path);
  else await exportSafetensors(model, path);
  await rename(path, join(place, file));
  return model;
}

/** One of the TorchScript fixtures, as a version. */
export async function placeModule(folder: string, name: string, { version = "1", as = name } = {}): Promise<void> {
  await placeFile(folder, as, version, "model.pt", fixture(name));
}

/** A server that listens on a free port, closed by {@link cleanUp}. */
export async function serve(
  folder: string,
  options: Partial<ServerOptions> = {},
): Promise<{ server: Server; url: string }> {
  const server = createServer({ modelRepository: folder, port: 0, logLevel: "silent", ...options });
  servers.push(server);
  const [main] = await server.listen();
  return { server, url: main!.url };
}

/** For afterEach or afterAll. */
export async function cleanUp(): Promise<void> {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true, force: true })));
}
