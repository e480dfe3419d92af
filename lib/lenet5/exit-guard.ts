// Trainings under way when the process exits.
//
// Problem: process.exit() destroys libtorch's static objects while a training thread still computes with them, and Node
// calls no native cleanup hook before that in the main thread. Resolution: one "exit" listener for all trainings, which
// halts them; it takes a batch at the most.
import type { NativeLeNet5 } from "../native.js";

const running = new Set<NativeLeNet5>();

function haltAll(): void {
  for (const model of running) model.halt();
}

/** Has the model's training ended before the process does. */
export function haltAtExit(model: NativeLeNet5): void {
  if (running.size === 0) process.on("exit", haltAll);
  running.add(model);
}

/** Takes that back, once the training is over. */
export function needNotHaltAtExit(model: NativeLeNet5): void {
  if (running.delete(model) && running.size === 0) process.off("exit", haltAll);
}
