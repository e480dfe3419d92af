// `lenet5 install`
import { spawn } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "#package-root";
import { LeNet5Error } from "../../errors.js";
import { VARIANTS, type Variant } from "../../libtorch/variants.js";
import { addExamples, perform } from "../command.js";
import { type Command, Option } from "../commander.js";
import { addJsonOption, textOption, wordOption } from "../options.js";
import type { Output } from "../output.js";

interface InstallOptions {
  from?: string;
  variant: Variant;
  apt?: boolean;
  force?: boolean;
  build?: boolean;
}

/** Adds the command. */
export function installCommand(program: Command): void {
  const command = program
    .command("install")
    .description(
      "Install a libtorch into the user's cache, where this package finds it, and build the addon where none fits.",
    )
    .addOption(
      textOption(
        "--from <source>",
        "a torch wheel, a libtorch zip, a folder or an address of these, in place of the package index",
      ),
    )
    .addOption(
      wordOption(
        "--variant <variant>",
        "the build: for the CPU, or for CUDA 13.0 with NVIDIA's libraries (Linux; 4 GB)",
        VARIANTS,
      ).default("cpu"),
    )
    .addOption(new Option("--apt", "install Debian's or Ubuntu's libtorch-dev instead").conflicts(["from", "variant"]))
    .option("--force", "install again what is there already")
    .option("--build", "build the addon for this libtorch, even where one is there");
  addJsonOption(command);
  addExamples(
    command,
    "lenet5 install",
    "lenet5 install --variant cu130 --build",
    "lenet5 install --from torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl",
  );
  perform<InstallOptions>(
    command,
    async ({ options, output, signal }) => {
      const { installLibtorch } = await import("../../libtorch/install.js");
      const { from, variant, apt, force } = options;
      const log = (line: string): void => output.log(line);
      // To build for the libtorch that is there, none has to be fetched.
      const any = variant === "cpu" && !from && !apt && !force;
      const present = options.build && any ? await presentLibtorch() : undefined;
      const result = present ?? (await installLibtorch({ from, variant, apt, force, signal, log }));
      output.print(
        `libtorch ${result.version} ${result.installed ? "installed" : "is there already"}: ${result.folder}`,
      );
      const build = options.build === true || !(await addonFits());
      if (build) await buildAddon(result.folder, output, signal);
      else if (variant !== "cpu" && !(await addonHasGraphs())) {
        output.log("The addon works with it, without CUDA graphs: `lenet5 install --variant cu130 --build` adds them.");
      }
      output.finish({ ...result, built: build });
    },
    "Stopping; nothing half-installed stays.",
  );
}

/** The libtorch that a build would take, if there is one. */
async function presentLibtorch(): Promise<{ folder: string; version: string; installed: boolean } | undefined> {
  const { findLibtorch } = await import("../../libtorch/find.js");
  try {
    const { libtorch } = findLibtorch({ headers: true });
    return { folder: libtorch.root, version: libtorch.version, installed: false };
  } catch (error) {
    // A folder that was named and does not fit is a mistake to mend, not one to work around.
    if (process.env.LIBTORCH) throw error;
    return undefined;
  }
}

/** Whether there is a built addon, and a libtorch that it runs with. */
async function addonFits(): Promise<boolean> {
  const { findBuiltAddon } = await import("../../libtorch/load-addon.js");
  const { findLibtorch } = await import("../../libtorch/find.js");
  try {
    const { libtorchVersion, cxx11Abi } = findBuiltAddon();
    findLibtorch({ built: { version: libtorchVersion, cxx11Abi } });
    return true;
  } catch {
    return false;
  }
}

async function addonHasGraphs(): Promise<boolean> {
  const { findBuiltAddon } = await import("../../libtorch/load-addon.js");
  return findBuiltAddon().cudaGraphs === true;
}

/** Compiles the addon; what the compiler says goes to stderr. */
async function buildAddon(libtorch: string, output: Output, signal: AbortSignal): Promise<void> {
  const script = join(packageRoot, "scripts", "build-native.mjs");
  output.log("Building the addon; this takes a few minutes.");
  // The script takes the compilers below it with it when it is told to end.
  const child = spawn(process.execPath, [script, "--libtorch", libtorch], { stdio: ["ignore", 2, 2] });
  const { endOf } = await import("../../libtorch/child-process.js");
  const status = await endOf(child, signal);
  if (status === 0) return;
  throw new LeNet5Error(
    "ADDON_NOT_BUILT",
    `Expected the build to end with status 0 for ${script} but received ${status}`,
  );
}
