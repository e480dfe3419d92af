// Meets the other ranks of a training, and makes sure that all are about to train the same.
//
// Problem: ranks with other data, options or versions would sum gradients that have nothing to do with each other, and learn
// nonsense without a word. Resolution: before the first step each rank hands in a card with all that the run depends on;
// every rank gets all cards, and all come to the same judgement.
import { abortable, onAbort, throwIfAborted } from "../abort.js";
import { describe, expectedButGot, isLeNet5Error, LeNet5Error } from "../errors.js";
import { isNativeError } from "../is.js";
import type { LibtorchAddon, NativeJoining, NativeRanks } from "../native/types.js";
import { libtorch, nativeCall, nativeCallSync } from "../native.js";
import { packageVersion } from "../version.js";
import type { Rendezvous } from "./rendezvous.js";

/** What a run depends on; equal on all ranks. */
export type Card = Record<string, string | number>;

/** The ranks of one training, met. */
export class RanksOfTraining {
  readonly #addon: LibtorchAddon;
  /** For the native training. */
  readonly native: NativeRanks;

  private constructor(addon: LibtorchAddon, native: NativeRanks) {
    this.#addon = addon;
    this.native = native;
  }

  /**
   * Waits for the others.
   * @throws LENET5_DISTRIBUTED_FAILED where they do not come in time, LENET5_DISTRIBUTED_MISMATCH where they are about to
   * train something else, LENET5_DISTRIBUTED_UNAVAILABLE, LENET5_MODEL_BUSY, LENET5_ABORTED, and the errors of opening libtorch
   */
  static async meet(rendezvous: Rendezvous, card: Card, signal: AbortSignal | undefined): Promise<RanksOfTraining> {
    const addon = libtorch("Distributed training");
    const { rank, worldSize: size, ...place } = rendezvous;
    const text = JSON.stringify({ version: packageVersion, ...card });
    throwIfAborted(signal);
    const joining = nativeCallSync(() => addon.joinRanks({ rank, size, ...place, card: text }));
    const leave = () => addon.stopJoining(joining);
    const off = onAbort(signal, leave);
    // The others are to hear of an exit, too.
    process.on("exit", leave);
    try {
      const meeting = allOf(addon, joining);
      const { ranks, cards } = await abortable(meeting, signal).catch((error) => {
        // They may meet in the same moment.
        meeting.then(
          async ({ ranks }) => {
            const late = new RanksOfTraining(addon, ranks);
            await late.leave(error);
            late.free();
          },
          () => {},
        );
        throw error;
      });
      const met = new RanksOfTraining(addon, ranks);
      try {
        compareCards(cards);
      } catch (error) {
        await met.leave(error);
        met.free();
        throw error;
      }
      return met;
    } finally {
      process.off("exit", leave);
      off();
    }
  }

  /** Tells the others why this rank ends before its time, and waits until they had a chance to read it. */
  async leave(error: unknown): Promise<void> {
    const reason = isLeNet5Error(error) && error.code === "LENET5_ABORTED" ? "it was stopped" : messageOf(error);
    try {
      await this.#addon.leaveRanks(this.native, reason);
    } catch {
      // What led to this is what the caller is to hear of.
    }
  }

  /** Ends the connections; a training under way keeps them to its own end. */
  free(): void {
    this.#addon.freeRanks(this.native);
  }
}

function messageOf(error: unknown): string {
  return isNativeError(error) || isLeNet5Error(error) ? error.message : describe(error);
}

/** Waits until all have met. */
async function allOf(addon: LibtorchAddon, joining: NativeJoining): Promise<{ ranks: NativeRanks; cards: string[] }> {
  for (;;) {
    const met = await nativeCall(() => addon.awaitRanks(joining));
    if (met !== undefined) return met;
  }
}

/** In words, what is named otherwise in the options. */
const NAMES: Record<string, string> = {
  version: "version of lenet5-libtorch",
  data: "training data (by their checksum)",
  validation: "validation data (by their checksum)",
  images: "number of training images",
  size: "size of images",
};

/** @throws LENET5_DISTRIBUTED_MISMATCH, naming the first thing that differs and the rank that has it otherwise */
export function compareCards(texts: readonly string[]): void {
  const cards = texts.map((text, rank): Card => {
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new LeNet5Error("DISTRIBUTED_MISMATCH", `Expected JSON from rank ${rank} but received other text`, {
        cause,
      });
    }
  });
  const [first = {}] = cards;
  for (const [rank, card] of cards.entries()) {
    for (const name of new Set([...Object.keys(first), ...Object.keys(card)])) {
      if (card[name] === first[name]) continue;
      const received = `${first[name] ?? "none"} on rank 0 and ${card[name] ?? "none"} on rank ${rank}`;
      throw expectedButGot("DISTRIBUTED_MISMATCH", `the same ${NAMES[name] ?? name}`, "all ranks", received);
    }
  }
}
