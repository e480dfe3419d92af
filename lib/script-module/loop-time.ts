// How long short calls may hold up the event loop.
//
// Problem: a call that is made on the calling thread settles its promise at once, so that code which awaits one such call
// after another would never let a timer or a socket have its turn. Resolution: after a millisecond of them, whoever's
// they were, calls go to another thread, until one came back from there: only the event loop can bring it.

/** Milliseconds. */
const AT_MOST = 1;

let held = 0;

/** Whether a short call may still be made here. */
export function mayHoldUpLoop(): boolean {
  return held < AT_MOST;
}

/** Makes a call, and counts the time that it takes. */
export function holdingUpLoop<T>(call: () => T): T {
  const begin = performance.now();
  try {
    return call();
  } finally {
    held += performance.now() - begin;
  }
}

/** To be told by what the event loop brought back. */
export function loopHasTurned(): void {
  held = 0;
}
