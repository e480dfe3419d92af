// How many multiply-adds a forward pass takes: nominally, and as the fused kernels do it.
//
// The kernels execute fewer than a direct convolution: Winograd's F(2,5) takes six products where two outputs of five taps
// take ten, in c1 along rows (70,560 instead of 117,600) and in c3 both ways (86,400 instead of 240,000), and rows of the
// canvas that are all black are passed over in c1. The count follows native/kernels/convolution.h, and changes with it. What
// transforms multiply and what padded vectors multiply for nothing is not counted.
export const MULTIPLY_ADDS = 6 * 28 * 28 * 25 + 16 * 10 * 10 * 150 + 120 * 400 + 84 * 120 + 10 * 84;

const C3 = 6 * 6 * 6 * 16 * 25;
const DENSE = 120 * 400 + 84 * 120 + 10 * 84;
const C1_OF_A_ROW = 6 * 14 * 6;

/** Products of c1 for one image of 784 bytes. */
function c1(pixels) {
  const filled = new Array(32).fill(false);
  for (let y = 0; y < 28; y += 1) filled[y + 2] = pixels.subarray(28 * y, 28 * y + 28).some((pixel) => pixel !== 0);
  let rows = 0;
  for (let r = 0; r < 14; r += 1) {
    // Of six rows of pixels the first and the last are seen by one of the two rows of outputs, the others by both.
    for (let row = 0; row < 6; row += 1) if (filled[2 * r + row]) rows += row === 0 || row === 5 ? 1 : 2;
  }
  return rows * C1_OF_A_ROW;
}

/** The mean of the multiply-adds that the fused kernels execute for these images, in batches of a dozen or more. */
export function executedMultiplyAdds(images) {
  const count = images.length / 784;
  let sum = 0;
  for (let i = 0; i < count; i += 1) sum += c1(images.subarray(784 * i, 784 * (i + 1)));
  return sum / count + C3 + DENSE;
}
