// Image files that strangers send.
//
// Problem: sharp also draws SVG, which is a program more than a picture: a few kilobytes of it keep one of the four threads that
// decode images, and read files, busy for seconds. Resolution: the server takes pictures that are made of pixels, told by their
// first bytes, and sharp is not asked what anything else might be.
import { expectedButGot } from "../errors.js";
import { imageFormatOf } from "../index.js";

/** @throws LENET5_IMAGE_UNREADABLE for bytes that begin as no picture of pixels */
export function checkImage(bytes: Uint8Array, where: string): void {
  const format = imageFormatOf(bytes);
  if (format !== undefined && format !== "SVG") return;
  const received = format ?? (bytes.length === 0 ? "no bytes" : `${bytes.length} bytes that begin as none`);
  throw expectedButGot("IMAGE_UNREADABLE", "a PNG, JPEG or another image of pixels", where, received);
}
