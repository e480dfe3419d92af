// The builds of libtorch that `lenet5 install` knows.

/** For the CPU, or for CUDA 13.0, which is what PyPI's wheels for Linux are. */
export const VARIANTS = ["cpu", "cu130"] as const;
/** One of {@link VARIANTS}. */
export type Variant = (typeof VARIANTS)[number];

/** The version of CUDA that a variant is for; `undefined` for the CPU's. */
export function cudaOf(variant: Variant): string | undefined {
  const [, major, minor] = /^cu(\d+)(\d)$/.exec(variant) ?? [];
  return major && `${major}.${minor}`;
}
