// Trainings under way when the process exits.
//
// Problem: process.exit() destroys libtorch's static objects while a training thread still computes with them, and Node
// calls no native cleanup hook before that in the main thread. Resolution: one "exit" listener for all trainings, which
// halts them; it takes a batch at the most.
import type { NativeFit } from "../native/types.js";

const running = new Set<NativeFit>();

function haltAll(): void {
  for (const fit of running) fit.halt();
}

/** Has the training ended before the process does. */
export function haltAtExit(fit: NativeFit): void {
  if (running.size === 0) process.on("exit", haltAll);
  running.add(fit);
}

/** Takes that back, once the training is over. */
export function needNotHaltAtExit(fit: NativeFit): void {
  if (running.delete(fit) && running.size === 0) process.off("exit", haltAll);
}
