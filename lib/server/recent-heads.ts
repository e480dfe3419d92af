// The JSON in front of binary tensors, read once where it comes again.
//
// Problem: a client that sends binary tensors sends the same few hundred bytes of JSON in front of each of them, and to read
// these costs more than all else that the protocol does. Resolution: what was read lately is kept by its text. Heads with
// an id of their own come once and are not kept, nor are long ones: what is kept is bounded in number and size.
import { parseJson } from "./json.js";

const MOST = 64;
const LONGEST = 1024;

/** JSON by its text. What it gives is shared by requests: nobody changes it. */
export class RecentHeads {
  readonly #heads = new Map<string, unknown>();

  /** The JSON of these bytes. @throws LENET5_REQUEST_INVALID */
  read(bytes: Buffer): unknown {
    if (bytes.length > LONGEST) return parseJson(bytes);
    const text = bytes.toString("latin1");
    const known = this.#heads.get(text);
    if (known !== undefined) return known;
    const head = parseJson(bytes);
    if (typeof head !== "object" || head === null || Object.hasOwn(head, "id")) return head;
    if (this.#heads.size >= MOST) this.#heads.delete(this.#heads.keys().next().value!);
    this.#heads.set(text, head);
    return head;
  }
}
