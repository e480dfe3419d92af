// Random damage to files, repeatable from a seed. JavaScript, because child processes of tests import it as it stands.

/** Numbers that sizes, counts and offsets are wrong by. */
const WORDS = [0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff];

/** One to four random damages: bits, bytes, words, a lost, doubled, blank or swapped piece, a cut. */
export function mutate(bytes, random) {
  let copy = Buffer.from(bytes);
  // Headers are small beside weights: half of all damage is meant for the first and last 4 KiB.
  const place = () => {
    if (random.chance(0.5) || copy.length < 8192) return random.integer(copy.length);
    const near = random.integer(4096);
    return random.chance(0.5) ? near : copy.length - 1 - near;
  };
  for (let damages = 1 + random.integer(4); damages > 0 && copy.length > 0; damages--) {
    const at = place();
    const length = Math.min(1 + random.integer(64), copy.length - at);
    switch (random.integer(8)) {
      case 0:
        copy[at] ^= 1 << random.integer(8);
        break;
      case 1:
        copy[at] = random.integer(256);
        break;
      case 2:
        if (at + 4 <= copy.length) copy.writeUInt32LE(WORDS[random.integer(WORDS.length)], at);
        break;
      case 3:
        copy = Buffer.concat([copy.subarray(0, at), copy.subarray(at + length)]);
        break;
      case 4:
        copy = Buffer.concat([copy.subarray(0, at + length), copy.subarray(at)]);
        break;
      case 5:
        copy.fill(0, at, at + length);
        break;
      case 6:
        copy.copyWithin(at, place(), place());
        break;
      default:
        if (random.chance(0.5)) copy = copy.subarray(0, at);
        else copy[at] ^= 0xff;
    }
  }
  return copy;
}
