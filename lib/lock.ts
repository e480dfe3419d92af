// One process at a time does a thing to a file or a folder: a lock beside it, refreshed as long as its holder lives.
//
// Problem: a holder may lose its lock while it works (somebody empties the cache; the machine slept and another process
// took the lock for a dead one's), and the library that keeps it would throw that from a timer, which ends the process.
// Resolution: the work is told through its signal, ends, and its caller gets an error with a code. That takes up to a refresh:
// work that writes where the next holder writes too asks before each write, and waits where the process stood still.
import { stat } from "node:fs/promises";
import type Lockfile from "proper-lockfile";
import { abortError, delay, onAbort, throwIfAborted } from "./abort.js";
import { expectedButGot, LeNet5Error } from "./errors.js";
import { lazily } from "./lazily.js";

const lockfile = lazily<typeof Lockfile>("proper-lockfile");

/** A lock that nobody has refreshed for this long belongs to a process that died. */
const STALE = 15_000;
/** How often a lock is refreshed, and so how soon its holder learns that it is gone. */
const REFRESH = 2_000;
/** Milliseconds between two looks at a lock that somebody else holds. */
const POLL = 250;
/** Milliseconds between two looks at the clock. */
const PULSE = 1_000;

/** How {@link withLock} gets its lock. */
export interface LockOptions {
  /**
   * Waits for another holder to finish; without it, a lock that is held is refused. "for-the-dead" waits only as long as
   * nothing shows that the holder lives: what a killed process left behind is taken over in time. @defaultValue false
   */
  wait?: boolean | "for-the-dead";
  /** Called once when there is somebody to wait for. */
  onWait?: () => void;
  /** Ends the waiting, and the work through the signal that it gets. */
  signal?: AbortSignal | undefined;
}

/**
 * Runs `work` while no other process or call does so for the same `target`.
 *
 * @param target - a path; the lock is a folder `<target>.lock` beside it
 * @param work - gets a signal that fires when the caller's does or when the lock is lost; and a function that resolves while the
 *   lock is held for certain (at once, unless this process stood still so long that another one may have taken the lock), and
 *   else rejects
 * @throws LENET5_FILE_BUSY where another one holds the lock, or where it was lost and the work did not finish;
 *   LENET5_FILE_WRITE_FAILED where no lock can be made; LENET5_ABORTED; what `work` throws
 */
export async function withLock<T>(
  target: string,
  options: LockOptions,
  work: (signal: AbortSignal, certain: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  const ending = new AbortController();
  const losing = new AbortController();
  const release = await acquire(target, options, (error) => {
    losing.abort(error);
    ending.abort(error);
  });
  const off = onAbort(signal, () => ending.abort(signal!.reason));
  const pulse = new Pulse();
  try {
    throwIfAborted(signal); // perhaps while the lock was being made
    return await work(ending.signal, () => pulse.certain(losing.signal));
  } catch (error) {
    throwIfAborted(signal);
    if (losing.signal.aborted || (await isGone(target))) throw lostLock(target, error);
    throw error;
  } finally {
    off();
    pulse.stop();
    // Refused where the lock is not ours any more: then it is not ours to remove either.
    await release().catch(() => {});
  }
}

/** Notices that this process stood still: it was stopped, or the machine slept. */
class Pulse {
  #last = Date.now();
  #uncertainUntil = 0;
  readonly #timer = setInterval(() => this.#beat(), PULSE).unref();

  /** Resolves once the lock would have been seen to be lost, if it is. @param lost - fires then, and the call rejects */
  async certain(lost: AbortSignal): Promise<void> {
    this.#beat();
    const left = this.#uncertainUntil - Date.now();
    if (left > 0) await delay(left, lost);
    throwIfAborted(lost);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    const now = Date.now();
    // By the next refresh, with the time that a look at the lock takes.
    if (now - this.#last > STALE / 2) this.#uncertainUntil = now + REFRESH + POLL;
    this.#last = now;
  }
}

async function acquire(
  target: string,
  { wait = false, onWait, signal }: LockOptions,
  onCompromised: (error: Error) => void,
): Promise<() => Promise<void>> {
  let firstSeen: number | undefined;
  for (let told = false; ; told = true) {
    if (signal?.aborted) throw abortError(signal);
    try {
      return await lockfile().lock(target, {
        realpath: false,
        stale: STALE,
        update: REFRESH,
        retries: 0,
        onCompromised,
      });
    } catch (error) {
      if ((error as { code?: string }).code !== "ELOCKED") {
        const message = `Expected a place for a lock for ${target} but received ${(error as Error).message}`;
        throw new LeNet5Error("FILE_WRITE_FAILED", message, { cause: error });
      }
    }
    const refreshed = wait === "for-the-dead" ? await lastRefresh(target) : undefined;
    firstSeen ??= refreshed;
    const isAlive = refreshed !== undefined && refreshed !== firstSeen;
    if (!wait || isAlive) {
      const received = "one that another writer has locked";
      throw expectedButGot("FILE_BUSY", "a file that nobody else is writing", target, received);
    }
    if (!told) onWait?.();
    await delay(POLL, signal);
  }
}

/** When the lock was refreshed last; undefined where it is gone by now. */
async function lastRefresh(target: string): Promise<number | undefined> {
  return await stat(`${target}.lock`).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
}

/** Whether somebody has removed the lock, which its next refresh would only find out later. */
async function isGone(target: string): Promise<boolean> {
  return await stat(`${target}.lock`).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === "ENOENT",
  );
}

function lostLock(target: string, cause: unknown): LeNet5Error {
  const message = `Expected a lock that stays to the end for ${target} but received one that was removed or taken over`;
  return new LeNet5Error("FILE_BUSY", message, { cause });
}
