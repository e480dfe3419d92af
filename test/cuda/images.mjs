// Images that need nothing but arithmetic: stripes that depend on the class, with noise. The machine that they are made on has
// neither data sets nor an image library.

/** `count` images of 28×28 in ten classes, labelled. */
export function stripedImages(count) {
  const images = new Uint8Array(count * 784);
  const labels = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const label = i % 10;
    labels[i] = label;
    for (let y = 0; y < 28; y++) {
      for (let x = 0; x < 28; x++) {
        const stripe = (Math.floor((x * (label + 1) + y * (10 - label)) / 14) % 2) * 160;
        images[i * 784 + y * 28 + x] = stripe + ((i * 7919 + y * 104729 + x * 1299709 + x * y * 31) % 96);
      }
    }
  }
  return { images, labels };
}
