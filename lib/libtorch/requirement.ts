// Requirements of Python packages (PEP 508) and versions (PEP 440), as far as the metadata of torch's and NVIDIA's wheels use
// them: `cuda-toolkit[cublas,cudart]==13.0.3; platform_system == "Linux"`, `nvidia-nvjitlink<14,>=13.0.88`.

/** A requirement on a package. */
export interface Requirement {
  /** Normalised: lower case, words joined by hyphens. */
  name: string;
  extras: string[];
  /** For example `==13.0.*` and `<14`. */
  specifiers: { operator: string; version: string }[];
  /** What must hold for it to count; empty where it always does. */
  marker: string;
}

/** A package's name as indexes have it. */
export function normalizedName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, "-");
}

/** Reads one requirement; `undefined` for what is none, an address for example. */
export function parseRequirement(text: string): Requirement | undefined {
  const [, name, extras = "", rest = "", marker = ""] =
    /^\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?\s*([^;@]*)(?:;(.*))?$/.exec(text) ?? [];
  if (!name) return undefined;
  const parts = rest
    .replaceAll(/[()\s]/g, "")
    .split(",")
    .filter(Boolean);
  const specifiers = parts.map((part) => /^(===?|~=|!=|<=|>=|<|>)(.+)$/.exec(part));
  if (specifiers.some((found) => found === null)) return undefined;
  return {
    name: normalizedName(name),
    extras: extras.split(",").map(normalizedName).filter(Boolean),
    specifiers: specifiers.map((found) => ({ operator: found![1]!, version: found![2]! })),
    marker: marker.trim(),
  };
}

/** The requirements in a wheel's METADATA that count on this machine, those of some extras included. */
export function requirementsOf(metadata: string, extras: readonly string[] = []): Requirement[] {
  // The description of the package stands behind the first empty line.
  const head = metadata.split(/\r?\n\r?\n/, 1)[0]!;
  const found = [...head.matchAll(/^Requires-Dist: *(.*)$/gm)].map(([, text]) => parseRequirement(text!.trim()));
  return found.filter((each) => each !== undefined).filter(({ marker }) => markerHolds(marker, extras));
}

const PLATFORMS: Record<string, readonly [system: string, os: string]> = {
  linux: ["Linux", "posix"],
  darwin: ["Darwin", "posix"],
  win32: ["Windows", "nt"],
};

/**
 * Whether a marker holds here. What it says of Python is taken to hold: nothing of Python is installed, and the
 * libraries are the same for all of its versions.
 */
export function markerHolds(marker: string, extras: readonly string[]): boolean {
  if (marker === "") return true;
  const [system, os] = PLATFORMS[process.platform] ?? [process.platform, "posix"];
  const arm = process.platform === "darwin" ? "arm64" : process.platform === "win32" ? "ARM64" : "aarch64";
  const intel = process.platform === "win32" ? "AMD64" : "x86_64";
  const values: Record<string, string> = {
    platform_system: system,
    sys_platform: process.platform,
    os_name: os,
    platform_machine: process.arch === "arm64" ? arm : intel,
    platform_python_implementation: "CPython",
    implementation_name: "cpython",
  };
  const words = marker.match(/"[^"]*"|'[^']*'|[()]|[<>=!~]+|[A-Za-z_]+/g) ?? [];
  let at = 0;
  const value = (): string | undefined => {
    const word = words[at++] ?? "";
    return /^["']/.test(word) ? word.slice(1, -1) : values[word];
  };
  const comparison = (): boolean => {
    if (words[at] === "(") {
      at++;
      const inside = either();
      at++; // the closing one
      return inside;
    }
    if (words[at] === "extra" || words[at + 2] === "extra") {
      const name = [words[at], words[at + 2]].find((word) => word !== "extra") ?? "";
      at += 3;
      return extras.includes(normalizedName(name.slice(1, -1)));
    }
    const left = value();
    const operator = words[at++];
    const right = value();
    if (left === undefined || right === undefined) return true;
    return operator === "!=" ? left !== right : left === right;
  };
  const both = (): boolean => {
    let holds = comparison();
    while (words[at] === "and") {
      at++;
      holds = comparison() && holds;
    }
    return holds;
  };
  const either = (): boolean => {
    let holds = both();
    while (words[at] === "or") {
      at++;
      holds = both() || holds;
    }
    return holds;
  };
  return either();
}

/** The numbers of a released version; `undefined` for one that is a pre-release or no version. Local labels play no part. */
function releaseOf(version: string): number[] | undefined {
  const release = /^v?(\d+(?:\.\d+)*)(?:\.post\d+)?(?:\+[\w.]+)?$/.exec(version)?.[1];
  return release?.split(".").map(Number);
}

/** Below 0 where `a` is the older one; missing numbers count as 0, so that 13.0.3 is 13.0.3.0. */
function compared(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Below 0 where `a` is the older version; what is no released version is older than all that are. */
export function compareVersions(a: string, b: string): number {
  return compared(releaseOf(a) ?? [-1], releaseOf(b) ?? [-1]) || a.localeCompare(b, "en", { numeric: true });
}

/** Whether a released version is one that a requirement takes. */
export function satisfies(version: string, specifiers: Requirement["specifiers"]): boolean {
  const own = releaseOf(version);
  if (own === undefined) return false;
  return specifiers.every(({ operator, version: wanted }) => {
    if (operator === "===") return version === wanted;
    const series = wanted.endsWith(".*");
    const other = releaseOf(series ? wanted.slice(0, -2) : wanted);
    if (other === undefined) return false;
    if (operator === "==" || operator === "!=") {
      // A label that is named must be there: 2.13.0+cpu is not 2.13.0+cu130.
      const label = /\+.*$/.exec(wanted)?.[0];
      const length = series ? other.length : Math.max(own.length, other.length);
      const same = compared(padded(own, length).slice(0, length), other) === 0;
      return (same && (label === undefined || version.endsWith(label))) === (operator === "==");
    }
    const order = compared(own, other);
    if (operator === "~=") return order >= 0 && compared(own.slice(0, other.length - 1), other.slice(0, -1)) === 0;
    if (operator === "<") return order < 0;
    if (operator === "<=") return order <= 0;
    return operator === ">" ? order > 0 : order >= 0;
  });
}

function padded(numbers: readonly number[], length: number): number[] {
  return Array.from({ length: Math.max(length, numbers.length) }, (_, i) => numbers[i] ?? 0);
}

/** A requirement in words, for messages and for pip. */
export function requirementText({ name, extras, specifiers }: Requirement): string {
  const more = extras.length > 0 ? `[${extras.join(",")}]` : "";
  return `${name}${more}${specifiers.map(({ operator, version }) => operator + version).join(",")}`;
}
