import type { Random } from "../lib/data/random.js";

/** A copy of the bytes with one to four random damages. */
export declare function mutate(bytes: Uint8Array, random: Random): Buffer;
