// What lies on the pad: strokes and pictures, and how both become the 28×28 pixels that the network was trained on.
//
// Problem: MNIST's digits were scaled into 20×20 pixels and centred by mass, all with about the same pen; what people draw is
// of any size and place. Resolution: strokes are kept as lines, not pixels, so they are drawn once more at the size of
// MNIST's digits, with MNIST's pen.

/** Side of the network's images. */
export const SIDE = 28;
/** Side of the square that MNIST's digits were scaled into. */
const BOX = 20;
/** Where their centre of mass lies, in pixels from the edge. */
const CENTRE = 14.5;
/** Width of MNIST's pen, in pixels. */
const MNIST_PEN = 2.7;
/** Width of the pad's pen, as a share of the pad. */
export const PAD_PEN = 0.068;
/** What is smaller than this share of the pad is not blown up: a dot stays a dot. */
const SMALLEST = 0.16;
/** Samples a pixel and axis. */
const FINE = 6;

/** A place on the pad; both from 0 to 1. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A line that was drawn. */
export interface Stroke {
  readonly points: Point[];
}

/** A picture that was opened: its ink, opaque on transparent. */
export interface Picture {
  readonly ink: HTMLCanvasElement;
  /** Where the ink lies in it, in its own pixels. */
  readonly box: Box;
  /** Its own pixels where it was 28×28 already: made like MNIST's, as the package takes such images everywhere. */
  readonly exact: Float32Array | undefined;
}

interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** What one step of drawing put there. */
export type Item = Stroke | Picture;

/** Draws items onto a context whose unit is the pad's side. */
export function drawItems(context: CanvasRenderingContext2D, items: readonly Item[], pen: number): void {
  context.lineWidth = pen;
  context.lineCap = "round";
  context.lineJoin = "round";
  for (const item of items) {
    if ("points" in item) drawStroke(context, item.points);
    else {
      const { left, top, right, bottom } = placeOf(item);
      const { box } = item;
      const [width, height] = [box.right - box.left, box.bottom - box.top];
      context.drawImage(item.ink, box.left, box.top, width, height, left, top, right - left, bottom - top);
    }
  }
}

/** Curves through the middles between points: a mouse that moves fast leaves few of them. */
function drawStroke(context: CanvasRenderingContext2D, points: readonly Point[]): void {
  const [first] = points;
  if (first === undefined) return;
  context.beginPath();
  context.moveTo(first.x, first.y);
  for (let i = 1; i < points.length - 1; i++) {
    const [point, next] = [points[i]!, points[i + 1]!];
    context.quadraticCurveTo(point.x, point.y, (point.x + next.x) / 2, (point.y + next.y) / 2);
  }
  const last = points[points.length - 1]!;
  context.lineTo(last.x, last.y);
  context.stroke();
}

/** Where a picture's ink lies on the pad: in its middle, seven tenths of it. */
function placeOf({ box }: Picture): Box {
  const [width, height] = [box.right - box.left, box.bottom - box.top];
  const scale = 0.7 / Math.max(width, height);
  const left = (1 - width * scale) / 2;
  const top = (1 - height * scale) / 2;
  return { left, top, right: left + width * scale, bottom: top + height * scale };
}

/** The network's view of what was drawn: 784 pixels from 0 to 1, ink is 1. Undefined where there is none. */
export function pixelsOf(items: readonly Item[]): Float32Array | undefined {
  const box = boxOf(items);
  if (box === undefined) return undefined;
  const [only] = items;
  if (items.length === 1 && only !== undefined && "exact" in only && only.exact !== undefined) return only.exact;
  const [width, height] = [box.right - box.left, box.bottom - box.top];
  const scale = BOX / Math.max(width, height, SMALLEST);
  const middle = { x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2 };
  const centred = render(items, scale, SIDE / 2 - middle.x * scale, SIDE / 2 - middle.y * scale);
  const mass = centreOfMass(centred);
  if (mass === undefined) return undefined;
  // Not so far that ink would leave the image.
  const shift = (by: number, length: number): number => {
    const room = (SIDE - length * scale) / 2;
    return Math.max(-room, Math.min(room, by));
  };
  const left = SIDE / 2 - middle.x * scale + shift(CENTRE - mass.x, width);
  const top = SIDE / 2 - middle.y * scale + shift(CENTRE - mass.y, height);
  return render(items, scale, left, top);
}

function boxOf(items: readonly Item[]): Box | undefined {
  const box = { left: Number.POSITIVE_INFINITY, top: Number.POSITIVE_INFINITY, right: 0, bottom: 0 };
  const include = (left: number, top: number, right: number, bottom: number): void => {
    box.left = Math.min(box.left, left);
    box.top = Math.min(box.top, top);
    box.right = Math.max(box.right, right);
    box.bottom = Math.max(box.bottom, bottom);
  };
  const radius = PAD_PEN / 2;
  for (const item of items) {
    if ("points" in item) for (const { x, y } of item.points) include(x - radius, y - radius, x + radius, y + radius);
    else {
      const place = placeOf(item);
      include(place.left, place.top, place.right, place.bottom);
    }
  }
  return box.left < box.right ? box : undefined;
}

let canvas: HTMLCanvasElement | undefined;

/** Items as 28×28 pixels, `scale` pixels to the pad's side. */
function render(items: readonly Item[], scale: number, left: number, top: number): Float32Array {
  const side = SIDE * FINE;
  canvas ??= Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, side, side);
  context.setTransform(scale * FINE, 0, 0, scale * FINE, left * FINE, top * FINE);
  context.imageSmoothingQuality = "high";
  drawItems(context, items, MNIST_PEN / scale);
  const { data } = context.getImageData(0, 0, side, side);
  const pixels = new Float32Array(SIDE * SIDE);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      pixels[Math.floor(y / FINE) * SIDE + Math.floor(x / FINE)]! += data[4 * (y * side + x) + 3]!;
    }
  }
  return pixels.map((sum) => sum / (255 * FINE * FINE));
}

function centreOfMass(pixels: Float32Array): Point | undefined {
  let [mass, x, y] = [0, 0, 0];
  for (const [i, ink] of pixels.entries()) {
    mass += ink;
    x += ink * ((i % SIDE) + 0.5);
    y += ink * (Math.floor(i / SIDE) + 0.5);
  }
  return mass === 0 ? undefined : { x: x / mass, y: y / mass };
}
