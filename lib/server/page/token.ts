// Asks for the server's token. It lives in the page's memory alone.
import { element } from "./elements.js";

/** @param wrong - whether the last one was refused */
export function askForToken(wrong: boolean): Promise<string> {
  const dialog = element("token-dialog", HTMLDialogElement);
  const form = element("token-form", HTMLFormElement);
  const input = element("token", HTMLInputElement);
  element("token-wrong", HTMLElement).hidden = !wrong;
  input.value = "";
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    const keepOpen = (event: Event): void => event.preventDefault();
    dialog.addEventListener("cancel", keepOpen);
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        dialog.removeEventListener("cancel", keepOpen);
        dialog.close();
        resolve(input.value);
        input.value = "";
      },
      { once: true },
    );
  });
}
