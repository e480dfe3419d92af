// How long short calls may hold up the event loop.
//
// Problem: a call that is made on the calling thread settles its promise at once, so that code which awaits one such call
// after another would never let a timer or a socket have its turn. Resolution: after a millisecond of them, whoever's
// they were, the next one waits until the event loop has turned.
import { setImmediate as nextTurn } from "node:timers/promises";

/** Milliseconds. */
const AT_MOST = 1;

let held = 0;
let turn: Promise<void> | undefined;

/** Whether a short call may still be made here in this turn. */
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

/** Resolves once timers and sockets have had their turn. */
export function loopTurn(): Promise<void> {
  turn ??= nextTurn().then(() => {
    held = 0;
    turn = undefined;
  });
  return turn;
}
