// The page: what is drawn goes to the server, what comes back moves the bars.

import { element } from "./elements.js";
import { type Item, pixelsOf, SIDE } from "./ink.js";
import { Live } from "./live.js";
import { ModelChoice } from "./models.js";
import { Pad } from "./pad.js";
import { readPicture } from "./picture.js";
import { Reading } from "./reading.js";
import { Refused, Server } from "./server.js";
import { askForToken } from "./token.js";

/** Milliseconds until a server that had no room is asked again. */
const PATIENCE = 500;

const server = new Server(askForToken);
const reading = new Reading();
const choice = new ModelChoice(server, () => ask());
const live = new Live(server);
const undo = element("undo", HTMLButtonElement);
const clear = element("clear", HTMLButtonElement);
const field = element("field", HTMLElement);
const file = element("file", HTMLInputElement);

let items: readonly Item[] = [];
const pad = new Pad(field, element("pad", HTMLCanvasElement), element("pen", HTMLElement), (now) => {
  items = now;
  element("hint", HTMLElement).hidden = items.length > 0;
  undo.disabled = !pad.canUndo;
  clear.disabled = items.length === 0;
  reading.problem("");
  ask();
});

let asking = false;
let changed = false;

/** One request at a time: what was drawn meanwhile goes with the next one, which is the only answer that counts. */
async function ask(): Promise<void> {
  changed = true;
  if (asking) return;
  asking = true;
  while (changed) {
    changed = false;
    await answer();
  }
  asking = false;
}

async function answer(): Promise<void> {
  const pixels = pixelsOf(items);
  reading.saw(pixels ?? new Float32Array(SIDE * SIDE));
  const chosen = choice.chosen;
  if (pixels === undefined) {
    reading.nothing();
    return;
  }
  if (chosen === undefined) return;
  if (!chosen.drawable) {
    reading.nothing();
    reading.problem(`${chosen.model} takes other tensors than a drawing, so it cannot be asked here.`);
    return;
  }
  try {
    const begun = performance.now();
    const probabilities = await server.classify(chosen.model, chosen.version, chosen.spec, pixels);
    if (!changed) reading.show(probabilities, chosen.spec.classNames, performance.now() - begun);
  } catch (error) {
    if (error instanceof Refused && error.status === 503) {
      await new Promise((resolve) => setTimeout(resolve, PATIENCE));
      changed = true;
    } else reading.problem(error instanceof Refused ? error.message : "The server does not answer.");
  }
}

async function open(blob: Blob | null | undefined): Promise<void> {
  if (!blob) return;
  try {
    pad.show(await readPicture(blob));
  } catch (error) {
    reading.problem((error as Error).message);
  }
}

undo.addEventListener("click", () => pad.undo());
clear.addEventListener("click", () => pad.clear());
file.addEventListener("change", async () => {
  await open(file.files?.[0]);
  file.value = ""; // the same file may be opened again
});
addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || event.target instanceof HTMLInputElement)
    return;
  event.preventDefault();
  pad.undo();
});
addEventListener("paste", ({ clipboardData }) => open(imageIn(clipboardData)));
addEventListener("dragover", (event) => {
  event.preventDefault();
  field.toggleAttribute("data-over", true);
});
addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) field.toggleAttribute("data-over", false);
});
addEventListener("drop", (event) => {
  event.preventDefault();
  field.toggleAttribute("data-over", false);
  open(imageIn(event.dataTransfer));
});

function imageIn(data: DataTransfer | null): File | undefined {
  const files = [...(data?.files ?? [])];
  return files.find(({ type }) => type.startsWith("image/")) ?? files[0];
}

choice.start();
live.start();
