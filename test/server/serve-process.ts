// `lenet5 serve` as a process, as a shell starts it.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { onTestFinished } from "vitest";
import { MAIN } from "../cli/lenet5.js";

/** A server in a process of its own. */
export interface ServeProcess {
  readonly child: ChildProcess;
  /** Of the main address. */
  readonly url: string;
  /** The port of gRPC, where it has one. */
  readonly grpcPort: number | undefined;
  /** Exit status and signal. */
  readonly ended: Promise<[number | null, NodeJS.Signals | null]>;
  output(): string;
  errors(): string;
}

/** Starts `lenet5 serve` and waits until it is ready; it ends with the test. */
export async function serveProcess(...words: string[]): Promise<ServeProcess> {
  const child = spawn(process.execPath, [MAIN, "serve", ...words], {
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const ended = once(child, "close") as ServeProcess["ended"];
  let output = "";
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  child.stdout.setEncoding("utf8");
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (text: string) => {
      output += text;
      if (/^Ready at .*\n/m.test(output)) resolve();
    });
    child.on("close", () => reject(new Error(`It ended: ${output}${errors}`)));
  });
  const url = /^Ready at (http:\S+?)(?:,|$)/m.exec(output)![1]!;
  const grpcPort = /grpc:\/\/[^:]+:(\d+)/.exec(output)?.[1];
  return {
    child,
    url,
    grpcPort: grpcPort === undefined ? undefined : Number(grpcPort),
    ended,
    output: () => output,
    errors: () => errors,
  };
}
