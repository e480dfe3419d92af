// What the tests of wrong values do to the addons.

/** An array whose memory has gone to somebody else. */
export function detached<T extends Uint8Array | Int32Array | Float32Array>(array: T): T {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
  return array;
}

/** What an attempt ends with: an error's code, or "none". */
export async function codeOf(attempt: () => unknown): Promise<unknown> {
  try {
    await attempt();
    return "none";
  } catch (error) {
    return (error as { code?: unknown }).code ?? error;
  }
}
