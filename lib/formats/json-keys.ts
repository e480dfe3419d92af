// JSON.parse keeps the last of two equal keys without a word; a format that forbids twins has to look for them itself.

const TOKEN = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g;

/** The first key that an object of this (valid) JSON text has twice, if there is one. */
export function duplicateKey(json: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, isKey] of json.matchAll(TOKEN)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (isKey !== undefined) {
      const key: string = JSON.parse(token.slice(0, token.length - isKey.length));
      const keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}
