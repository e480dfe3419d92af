/** `count` images of 28×28 in ten classes, labelled. */
export declare function stripedImages(count: number): { images: Uint8Array; labels: Int32Array };
