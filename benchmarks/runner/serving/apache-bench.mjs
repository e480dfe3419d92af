// ApacheBench against one address: what it is told, and what it says.
//
// Problem: it counts an answer as good whose status is 2xx, whatever is in it. Resolution: its count of failures and of
// other statuses is taken off, the mean length of the bodies is held against that of answers that were read, and the
// suite reads answers itself while it runs.
import { execFile, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Why there is no ApacheBench; undefined where there is one. */
export function absentApacheBench() {
  return spawnSync("ab", ["-V"]).status === 0 ? undefined : "ApacheBench is not installed (Debian: apache2-utils)";
}

/**
 * Posts a file for some seconds on kept connections.
 * @returns what {@link parseReport} gives, and `p50Ms` and `p99Ms` of the requests
 */
export async function bench({ url, bodyFile, contentType, headers = {}, concurrency, seconds, percentilesFile }) {
  const { stdout } = await run(
    "ab",
    [
      ...["-q", "-k", "-l", "-s", "30", "-c", String(concurrency)],
      // The time alone ends it; a number of its own would follow from -t.
      ...["-t", String(seconds), "-n", "1000000"],
      ...["-p", bodyFile, "-T", contentType, "-e", percentilesFile],
      ...Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
      url,
    ],
    { maxBuffer: 1 << 24 },
  );
  return { ...parseReport(stdout), ...parsePercentiles(await readFile(percentilesFile, "utf8")) };
}

/** The figures of ApacheBench's report. */
export function parseReport(text) {
  const number = (pattern, otherwise) => {
    const found = pattern.exec(text);
    if (found !== null) return Number(found[1]);
    if (otherwise !== undefined) return otherwise;
    throw new Error(`ApacheBench's report has no ${pattern.source}: ${text.slice(-300)}`);
  };
  const complete = number(/^Complete requests:\s+(\d+)/m);
  const seconds = number(/^Time taken for tests:\s+([\d.]+) seconds/m);
  const failed = number(/^Failed requests:\s+(\d+)/m);
  const otherStatuses = number(/^Non-2xx responses:\s+(\d+)/m, 0);
  // An answer may count as both; rather too few than too many.
  const good = Math.max(0, complete - failed - otherStatuses);
  return {
    complete,
    failed,
    otherStatuses,
    good,
    seconds,
    requestsPerSecond: good / seconds,
    kept: number(/^Keep-Alive requests:\s+(\d+)/m, 0),
    bodyBytes: complete === 0 ? 0 : number(/^HTML transferred:\s+(\d+) bytes/m) / complete,
  };
}

/** Median and 99th percentile of the table that `-e` writes: finer than the report's whole milliseconds. */
export function parsePercentiles(csv) {
  const rows = new Map(csv.split("\n").map((line) => line.split(",").map(Number)));
  return { p50Ms: rows.get(50) ?? null, p99Ms: rows.get(99) ?? null };
}
