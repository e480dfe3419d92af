// Addresses that hold a user's name and password: indexes of companies have them, and logs and errors are read by many.
import { isNativeError } from "./is.js";

/** A text whose addresses tell neither. */
export function withoutCredentials(text: string): string {
  return text.replace(/(https?:\/\/)[^/?#\s]*@/g, "$1…@");
}

/** Takes them out of an error that was made on the way here, and out of those that led to it. */
export function hideCredentials(error: unknown): void {
  const seen = new Set<unknown>();
  for (let each = error; isNativeError(each) && !seen.has(each); each = each.cause) {
    seen.add(each);
    // Node adds the address to some, under a name of its own.
    for (const name of new Set(["message", ...Object.getOwnPropertyNames(each)])) {
      const value: unknown = (each as unknown as Record<string, unknown>)[name];
      if (typeof value !== "string") continue;
      const hidden = withoutCredentials(value);
      if (hidden === value) continue;
      const enumerable = Object.prototype.propertyIsEnumerable.call(each, name);
      Object.defineProperty(each, name, { value: hidden, enumerable, configurable: true, writable: true });
    }
  }
}
