// The pickles inside of TorchScript archives, read without doing what they say.
//
// Problem: a pickle is a program. Python and libtorch run it: they look classes up, call functions and `__setstate__`
// methods, and so a file of weights runs whatever its author put there. Resolution: this reader knows the opcodes that
// libtorch writes (torch/csrc/jit/serialization/pickler.cpp, of protocol 2) and evaluates none of them. A class is its
// name, a call is the name and the arguments, an object its class and its state; whoever reads them decides what they
// mean. Anything else is refused.
import { isMap } from "../is.js";

/** A class or a function that a pickle names: `path` is its module and its name. */
export interface PickledGlobal {
  readonly kind: "global";
  readonly path: string;
}

/** What a pickle would have called, and with what. */
export interface PickledCall {
  readonly kind: "call";
  readonly path: string;
  readonly args: readonly PickledValue[];
}

/** An object: its class and, once it was given one, its state. */
export interface PickledObject {
  readonly kind: "object";
  readonly path: string;
  state: PickledValue;
}

/** What lies outside of the pickle, by the identity that it has there. */
export interface PickledReference {
  readonly kind: "reference";
  readonly id: PickledValue;
}

/** What a pickle holds. Tuples and lists are arrays; whole numbers beyond 2^53 are bigints. */
export type PickledValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickledValue[]
  | Map<PickledValue, PickledValue>
  | PickledGlobal
  | PickledCall
  | PickledObject
  | PickledReference;

/** The value where it is of a kind. */
export function pickled<K extends "global" | "call" | "object" | "reference">(
  value: PickledValue | undefined,
  kind: K,
): Extract<PickledValue, { kind: K }> | undefined {
  const isOne = typeof value === "object" && value !== null && "kind" in value && value.kind === kind;
  return isOne ? (value as Extract<PickledValue, { kind: K }>) : undefined;
}

const MARK = Symbol("mark");

/**
 * Reads a pickle.
 * @throws Error, with what was found instead, for anything but a whole pickle of the kind above
 */
export function readPickle(bytes: Uint8Array): PickledValue {
  return new Reader(bytes).read();
}

class Reader {
  readonly #bytes: Buffer;
  #position = 0;
  readonly #stack: (PickledValue | typeof MARK)[] = [];
  readonly #memo = new Map<number, PickledValue>();

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  read(): PickledValue {
    for (;;) {
      const opcode = this.#take(1)[0]!;
      if (opcode === 0x2e) break; // STOP
      const value = this.#step(opcode);
      if (value !== undefined) this.#stack.push(value);
    }
    const value = this.#pop();
    if (this.#stack.length > 0) throw new Error("a pickle that leaves values behind");
    if (this.#position !== this.#bytes.length) throw new Error("a pickle with bytes after its end");
    return value;
  }

  /** Does what an opcode says; returns the value that it puts on the stack. */
  #step(opcode: number): PickledValue | undefined {
    switch (opcode) {
      case 0x4e: // NONE
        return null;
      case 0x88: // NEWTRUE
        return true;
      case 0x89: // NEWFALSE
        return false;
      case 0x4b: // BININT1
        return this.#take(1)[0]!;
      case 0x4d: // BININT2
        return this.#take(2).readUInt16LE();
      case 0x4a: // BININT
        return this.#take(4).readInt32LE();
      case 0x8a: // LONG1
        return this.#long();
      case 0x47: // BINFLOAT
        return this.#take(8).readDoubleBE();
      case 0x58: // BINUNICODE
        return this.#take(this.#take(4).readUInt32LE()).toString("utf8");
      case 0x5d: // EMPTY_LIST
      case 0x29: // EMPTY_TUPLE
        return [];
      case 0x7d: // EMPTY_DICT
        return new Map();
      case 0x74: // TUPLE
        return this.#popToMark();
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return Array.from({ length: opcode - 0x84 }, () => this.#pop()).reverse();
      case 0x63: // GLOBAL
        return { kind: "global", path: `${this.#line()}.${this.#line()}` };
      case 0x52: // REDUCE
        return { kind: "call", ...this.#callee() };
      case 0x81: // NEWOBJ
        return { kind: "object", path: this.#callee().path, state: null };
      case 0x51: // BINPERSID
        return { kind: "reference", id: this.#pop() };
      case 0x68: // BINGET
        return this.#get(this.#take(1)[0]!);
      case 0x6a: // LONG_BINGET
        return this.#get(this.#take(4).readUInt32LE());
      default:
        this.#change(opcode);
        return undefined;
    }
  }

  /** The opcodes that put nothing on the stack. */
  #change(opcode: number): void {
    switch (opcode) {
      case 0x80: // PROTO
        if (this.#take(1)[0] !== 2) throw new Error("a pickle of another protocol than 2");
        break;
      case 0x28: // MARK
        this.#stack.push(MARK);
        break;
      case 0x61: // APPEND
        this.#append([this.#pop()]);
        break;
      case 0x65: // APPENDS
        this.#append(this.#popToMark());
        break;
      case 0x73: // SETITEM
        this.#setItems([this.#pop(), this.#pop()].reverse());
        break;
      case 0x75: // SETITEMS
        this.#setItems(this.#popToMark());
        break;
      case 0x62: // BUILD
        this.#build();
        break;
      case 0x71: // BINPUT
        this.#memo.set(this.#take(1)[0]!, this.#top());
        break;
      case 0x72: // LONG_BINPUT
        this.#memo.set(this.#take(4).readUInt32LE(), this.#top());
        break;
      default:
        throw new Error(`a pickle with the unknown opcode 0x${opcode.toString(16).padStart(2, "0")}`);
    }
  }

  #take(length: number): Buffer {
    const end = this.#position + length;
    if (end > this.#bytes.length) throw new Error("a pickle that ends in the middle");
    const taken = this.#bytes.subarray(this.#position, end);
    this.#position = end;
    return taken;
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#position);
    if (end < 0) throw new Error("a pickle that ends in the middle");
    const line = this.#take(end - this.#position).toString("utf8");
    this.#position++;
    return line;
  }

  /** A little-endian number of as many bytes as the first one says, in two's complement. */
  #long(): number | bigint {
    const bytes = this.#take(this.#take(1)[0]!);
    if (bytes.length > 8) throw new Error("a pickle with a whole number beyond 64 bits");
    let value = 0n;
    for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
    value = BigInt.asIntN(8 * bytes.length, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #pop(): PickledValue {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw new Error("a pickle that takes what is not there");
    return value;
  }

  #top(): PickledValue {
    const value = this.#stack.at(-1);
    if (value === undefined || value === MARK) throw new Error("a pickle that takes what is not there");
    return value;
  }

  #popToMark(): PickledValue[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) throw new Error("a pickle that takes what is not there");
    return this.#stack.splice(mark).slice(1) as PickledValue[];
  }

  #append(items: readonly PickledValue[]): void {
    const list = this.#top();
    if (!Array.isArray(list)) throw new Error("a pickle that appends to what is no list");
    for (const item of items) list.push(item);
  }

  #setItems(items: readonly PickledValue[]): void {
    const map = this.#top();
    if (!isMap(map) || items.length % 2 !== 0) throw new Error("a pickle that sets items of what has none");
    for (let i = 0; i < items.length; i += 2) map.set(items[i]!, items[i + 1]!);
  }

  /** A class's or function's name, and the arguments for it. */
  #callee(): { path: string; args: PickledValue[] } {
    const args = this.#pop();
    const global = pickled(this.#pop(), "global");
    if (global === undefined || !Array.isArray(args)) {
      throw new Error("a pickle that calls what is no function");
    }
    return { path: global.path, args };
  }

  #build(): void {
    const state = this.#pop();
    const object = pickled(this.#top(), "object");
    if (object === undefined) throw new Error("a pickle that gives a state to what is no object");
    object.state = state;
  }

  #get(index: number): PickledValue {
    const value = this.#memo.get(index);
    if (value === undefined) throw new Error("a pickle that takes what is not there");
    return value;
  }
}
