// The drawing pad: mouse, pen, finger or keyboard in, items out.
import { drawItems, type Item, PAD_PEN, type Picture, type Point, type Stroke } from "./ink.js";

/** How far an arrow key moves the pen, as a share of the pad. */
const STEP = 1 / 40;

const ARROWS: Readonly<Record<string, Point>> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};

/** The pad on a canvas. */
export class Pad {
  readonly #field: HTMLElement;
  readonly #canvas: HTMLCanvasElement;
  readonly #pen: HTMLElement;
  readonly #onChange: (items: readonly Item[]) => void;
  #items: readonly Item[] = [];
  /** What was there before each step. */
  #past: (readonly Item[])[] = [];
  #pointer: { id: number; stroke: Stroke } | undefined;
  /** Where the keyboard's pen is, and what it draws while it is down. */
  #at: Point = { x: 0.3, y: 0.25 };
  #down: Stroke | undefined;
  readonly #held = new Set<string>();
  /** Whether the keyboard was used last: only then its pen shows. */
  #keyboard = false;
  #redrawing = false;

  /**
   * @param field - takes the pointer and the keyboard
   * @param canvas - fills it
   * @param pen - shows where the keyboard's pen is
   * @param onChange - told of what lies there after every change
   */
  constructor(
    field: HTMLElement,
    canvas: HTMLCanvasElement,
    pen: HTMLElement,
    onChange: (items: readonly Item[]) => void,
  ) {
    this.#field = field;
    this.#canvas = canvas;
    this.#pen = pen;
    this.#onChange = onChange;
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#follow(event));
    for (const name of ["pointerup", "pointercancel"] as const)
      canvas.addEventListener(name, (event) => {
        if (event.pointerId === this.#pointer?.id) this.#pointer = undefined;
      });
    field.addEventListener("keydown", (event) => this.#press(event));
    field.addEventListener("keyup", ({ key }) => this.#held.delete(key));
    field.addEventListener("focus", () => {
      this.#keyboard = field.matches(":focus-visible");
      this.#showPen();
    });
    field.addEventListener("blur", () => this.#lift());
    new ResizeObserver(() => this.#redraw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
  }

  get canUndo(): boolean {
    return this.#past.length > 0;
  }

  /** Puts a picture in the place of what is there. */
  show(picture: Picture): void {
    this.#step([picture]);
  }

  clear(): void {
    if (this.#items.length > 0) this.#step([]);
  }

  undo(): void {
    const before = this.#past.pop();
    if (before === undefined) return;
    this.#down = undefined;
    this.#items = before;
    this.#changed();
  }

  #step(items: readonly Item[]): void {
    this.#past.push(this.#items);
    this.#down = undefined;
    this.#pointer = undefined;
    this.#items = items;
    this.#changed();
  }

  #startStroke(at: Point): Stroke {
    const stroke = { points: [at] };
    this.#past.push(this.#items);
    this.#items = [...this.#items, stroke];
    this.#changed();
    return stroke;
  }

  #changed(): void {
    this.#redraw();
    this.#showPen();
    this.#onChange(this.#items);
  }

  #begin(event: PointerEvent): void {
    if (event.button !== 0 || this.#pointer !== undefined) return;
    this.#keyboard = false;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#lift();
    this.#pointer = { id: event.pointerId, stroke: this.#startStroke(this.#placeOf(event)) };
  }

  #follow(event: PointerEvent): void {
    if (event.pointerId !== this.#pointer?.id) return;
    const between = event.getCoalescedEvents?.() ?? [];
    for (const each of between.length > 0 ? between : [event]) this.#pointer.stroke.points.push(this.#placeOf(each));
    this.#changed();
  }

  #placeOf({ clientX, clientY }: PointerEvent): Point {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return { x: clamp((clientX - left) / width), y: clamp((clientY - top) / height) };
  }

  #press(event: KeyboardEvent): void {
    const { key } = event;
    this.#keyboard = true;
    if (ARROWS[key] !== undefined) this.#move(event);
    else if (key === " ") {
      if (event.repeat) event.preventDefault();
      else if (this.#down === undefined) this.#down = this.#startStroke(this.#at);
      else this.#down = undefined;
    } else if (key === "Escape" && this.#down !== undefined) this.#down = undefined;
    else if (key === "Delete" || key === "Backspace") this.clear();
    else return;
    event.preventDefault();
    this.#showPen();
  }

  /** Held together, two arrows go aslant. */
  #move(event: KeyboardEvent): void {
    this.#held.add(event.key);
    const step = event.shiftKey ? STEP / 4 : STEP;
    let { x, y } = this.#at;
    for (const key of this.#held) {
      x += (ARROWS[key]?.x ?? 0) * step;
      y += (ARROWS[key]?.y ?? 0) * step;
    }
    this.#at = { x: clamp(x), y: clamp(y) };
    if (this.#down === undefined) return;
    this.#down.points.push(this.#at);
    this.#changed();
  }

  #lift(): void {
    this.#down = undefined;
    this.#held.clear();
    this.#showPen();
  }

  #showPen(): void {
    this.#pen.hidden = !(this.#keyboard && this.#field.matches(":focus"));
    this.#pen.toggleAttribute("data-down", this.#down !== undefined);
    const { clientWidth, clientHeight } = this.#canvas;
    this.#pen.style.transform = `translate(${this.#at.x * clientWidth}px, ${this.#at.y * clientHeight}px)`;
  }

  /** Once a frame, as sharp as the screen is. */
  #redraw(): void {
    if (this.#redrawing) return;
    this.#redrawing = true;
    requestAnimationFrame(() => {
      this.#redrawing = false;
      const side = Math.round(this.#canvas.clientWidth * devicePixelRatio);
      if (side === 0) return;
      if (this.#canvas.width !== side) Object.assign(this.#canvas, { width: side, height: side });
      const context = this.#canvas.getContext("2d")!;
      context.setTransform(side, 0, 0, side, 0, 0);
      context.clearRect(0, 0, 1, 1);
      context.imageSmoothingQuality = "high";
      drawItems(context, this.#items, PAD_PEN);
      context.globalCompositeOperation = "source-in";
      context.fillStyle = getComputedStyle(this.#canvas).getPropertyValue("--ink");
      context.fillRect(0, 0, 1, 1);
      context.globalCompositeOperation = "source-over";
      this.#showPen();
    });
  }
}

function clamp(value: number): number {
  return Math.max(0, Math.min(1, value));
}
