// The name of this platform, as the packages with prebuilt addons have it: linux-x64, linux-x64-musl, darwin-arm64.
import { readFileSync } from "node:fs";

/** Scope of the packages with prebuilt addons. */
export const PLATFORM_SCOPE = "@lenet5-libtorch";

/** For example `linux-x64`; `linux-x64-musl` where the C library is musl, as on Alpine. */
export function platformName(): string {
  const name = `${process.platform}-${process.arch}`;
  return process.platform === "linux" && isMusl() ? `${name}-musl` : name;
}

/** The script that lists a program's libraries belongs to the C library and names it. */
function isMusl(): boolean {
  try {
    return readFileSync("/usr/bin/ldd", "latin1").includes("musl");
  } catch {
    // There are systems without it.
    const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: unknown } };
    return header?.glibcVersionRuntime === undefined;
  }
}
