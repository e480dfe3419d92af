// Which format of image files some bytes begin as. Formats that nothing here decodes are known too: a file of one is to be
// refused by its name, not to be taken for pixels.

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const JPEG = [0xff, 0xd8, 0xff];
const TIFFS = ["II*\0", "II+\0", "MM\0*", "MM\0+"];
/** What comes before the first tag of a text: a byte-order mark, white space. */
const BEFORE_TEXT = /^(?:\xef\xbb\xbf)?[ \t\r\n]*/;
const MARKUP = /^<(?:svg|\?xml|!--|!doctype)/i;

/** The name of the format, or undefined where the bytes begin as none. */
export function imageFormatOf(bytes: Uint8Array): string | undefined {
  switch (bytes[0]) {
    case 0x89:
      return PNG.every((byte, i) => bytes[i] === byte) ? "PNG" : undefined;
    case 0xff:
      return JPEG.every((byte, i) => bytes[i] === byte) ? "JPEG" : undefined;
    case 0x47:
      return /^GIF8[79]a/.test(textOf(bytes, 0, 6)) ? "GIF" : undefined;
    case 0x49:
    case 0x4d:
      return TIFFS.includes(textOf(bytes, 0, 4)) ? "TIFF" : undefined;
    case 0x52:
      return textOf(bytes, 0, 4) === "RIFF" && textOf(bytes, 8, 12) === "WEBP" ? "WebP" : undefined;
    case 0x42:
      return isBmp(bytes) ? "BMP" : undefined;
    case 0x25:
      return textOf(bytes, 0, 5) === "%PDF-" ? "PDF" : undefined;
    case 0x00:
      // Pixels mostly begin so, with black: a text is made only of what may be one.
      if (bytes[4] === 0x66) return textOf(bytes, 4, 8) === "ftyp" ? "AVIF or HEIF" : undefined;
      if (bytes[4] !== 0x4a && bytes[4] !== 0x6a) return undefined;
      return /^(?:JXL|jP) {1,2}\r\n\x87\n/.test(textOf(bytes, 4, 12)) ? "JPEG XL or JPEG 2000" : undefined;
    case 0x3c:
    case 0xef:
    case 0x20:
    case 0x09:
    case 0x0d:
    case 0x0a:
      return MARKUP.test(textOf(bytes, 0, 256).replace(BEFORE_TEXT, "")) ? "SVG" : undefined;
    default:
      return undefined;
  }
}

/** "BM" is too short to tell by: the header also repeats the file's length and has four zeroes. */
function isBmp(bytes: Uint8Array): boolean {
  if (bytes.length < 14 || bytes[1] !== 0x4d) return false;
  const header = new DataView(bytes.buffer, bytes.byteOffset, 14);
  return header.getUint32(2, true) === bytes.length && header.getUint32(6, true) === 0;
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...bytes.subarray(start, end));
}
