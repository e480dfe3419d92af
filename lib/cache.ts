// The one folder in which the package keeps what it has fetched for the user: data sets and libtorch.
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/**
 * The cache's root folder: `LENET5_CACHE_DIR`, else `lenet5-libtorch` in the operating system's place for caches
 * (`$XDG_CACHE_HOME` or `~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`). It need not exist yet.
 */
export function cacheRoot(): string {
  const chosen = process.env.LENET5_CACHE_DIR;
  if (chosen) return resolve(chosen);
  return join(systemCacheFolder(), "lenet5-libtorch");
}

function systemCacheFolder(): string {
  if (process.platform === "win32") return process.env.LOCALAPPDATA || join(homedir(), "AppData", "Local");
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches");
  // The XDG specification tells programs to ignore a relative path here.
  const xdg = process.env.XDG_CACHE_HOME;
  return xdg?.startsWith("/") ? xdg : join(homedir(), ".cache");
}
