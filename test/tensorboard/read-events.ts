// What TensorBoard's own readers find in a folder of event files.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "#package-root";
import { python } from "../python.js";

/** As read_events.py prints it. */
export interface Found {
  version: number;
  scalars: Record<string, [step: number, value: string][]>;
  histograms: Record<string, [number, number, number, number, number, number, number[], number[]][]>;
  images: Record<string, [step: number, width: number, height: number, hex: string][]>;
  texts: Record<string, string[]>;
  hparams: { metrics?: string[]; types?: Record<string, number>; values?: Record<string, unknown>; status?: number };
  graph: [name: string, op: string, inputs: string[], shapes: number[][]][] | null;
}

const program = readFileSync(join(packageRoot, "test", "tensorboard", "read_events.py"), "utf8");

/** Reads a folder. */
export function readEvents(folder: string): Promise<Found> {
  return python<Found>(program, [folder]);
}
