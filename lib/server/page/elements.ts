// Elements of the page by their ids.

/** The element with an id, which index.html has. */
export function element<T extends Element>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`Expected ${kind.name} #${id} in the page`);
  return found;
}

/** A new element with a class and text. */
export function make(tag: string, className: string, text = ""): HTMLElement {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

/** A whole number with separators. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-GB");
}
