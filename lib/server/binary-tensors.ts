// The binary tensor extension of the Open Inference Protocol: a body is JSON, whose length a header tells, and behind it
// the tensors' raw little-endian bytes in the order in which the JSON names them.
//
// Everything that a client declares, the length of the JSON and the sizes of tensors, is held against the bytes that came
// before anything is read by it.
import { expected, expectedButGot } from "../errors.js";

/** The header, as Node writes names of headers. */
export const JSON_LENGTH_HEADER = "inference-header-content-length";

/** Parts a body into its JSON and what follows. Without the header all of it is JSON. @throws LENET5_REQUEST_INVALID */
export function splitBody(body: Buffer, header: string | string[] | undefined): { json: Buffer; raw: RawTensors } {
  if (header === undefined) return { json: body, raw: new RawTensors(body.subarray(body.length)) };
  const length = typeof header === "string" && /^\d{1,15}$/.test(header) ? Number(header) : Number.NaN;
  if (!(length <= body.length))
    throw expected(
      "REQUEST_INVALID",
      `at most the body's ${body.length} bytes`,
      "Inference-Header-Content-Length",
      header,
    );
  return { json: body.subarray(0, length), raw: new RawTensors(body.subarray(length)) };
}

/** The bytes behind the JSON, handed out tensor by tensor. */
export class RawTensors {
  readonly #bytes: Buffer;
  #taken = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The next `size` bytes. @throws LENET5_REQUEST_INVALID where there are fewer */
  take(size: number, where: string): Buffer {
    const left = this.#bytes.length - this.#taken;
    if (!Number.isSafeInteger(size) || size < 0 || size > left)
      throw expected("REQUEST_INVALID", `at most the ${left} bytes that are left`, `${where}'s binary_data_size`, size);
    this.#taken += size;
    return this.#bytes.subarray(this.#taken - size, this.#taken);
  }

  /** @throws LENET5_REQUEST_INVALID where bytes are left that no tensor asked for */
  end(): void {
    if (this.#taken === this.#bytes.length) return;
    const want = `${this.#taken} bytes behind the JSON, what its tensors declare,`;
    throw expectedButGot("REQUEST_INVALID", want, "the body", `${this.#bytes.length} bytes`);
  }
}
