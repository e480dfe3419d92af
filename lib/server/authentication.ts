// Bearer tokens, one for inference and one for management, compared in a time that says nothing of them.
import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import type { onRequestAsyncHookHandler, onRequestHookHandler } from "fastify";
import { LeNet5Error } from "../errors.js";
import type { ProtocolContext } from "./protocol.js";

/** Tokens that requests must bear; undefined where none is asked for. */
export interface Tokens {
  readonly inference: string | undefined;
  readonly management: string | undefined;
}

/** What requests are checked with. */
export interface Authentication {
  /** For a protocol's routes. */
  readonly guard: ProtocolContext["guard"];
  /**
   * For what is no route: looks at an `Authorization` header's value.
   * @throws LENET5_UNAUTHORIZED
   */
  readonly authorize: (authorization: string | undefined, kind: "inference" | "management") => void;
}

/** Asks for the tokens that there are. */
export function authentication(tokens: Tokens): Authentication {
  const hashes = {
    inference: tokens.inference === undefined ? undefined : hashOf(tokens.inference),
    management: tokens.management === undefined ? undefined : hashOf(tokens.management),
  };
  const authorize: Authentication["authorize"] = (authorization, kind) => {
    const hash = hashes[kind];
    if (hash === undefined) return;
    const token = /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
    // Hashes of one length: neither the token's length nor how much of a guess is right can be measured.
    if (token !== undefined && timingSafeEqual(hashOf(token), hash)) return;
    const received = token === undefined ? "none" : "another";
    throw new LeNet5Error(
      "UNAUTHORIZED",
      `Expected the token for ${kind} (Authorization: Bearer …) but received ${received}`,
    );
  };
  const guardOf = (kind: "inference" | "management"): onRequestAsyncHookHandler =>
    hashes[kind] === undefined
      ? kind === "inference"
        ? NO_GUARD
        : NO_OTHER_SITE
      : async (request, reply) => {
          try {
            authorize(request.headers.authorization, kind);
          } catch (error) {
            reply.header("www-authenticate", "Bearer");
            throw error;
          }
        };
  return { guard: { inference: guardOf("inference"), management: guardOf("management") }, authorize };
}

/** Fastify tells by the number of parameters that this one promises nothing: no request waits a turn for it. */
const NO_GUARD = ((_request, _reply, done) => done()) as onRequestHookHandler as unknown as onRequestAsyncHookHandler;

/**
 * On a loopback address management asks for no token; a page of another site, open in the browser of whoever runs the server,
 * could still post to it. Browsers say where a request comes from, and no page can make them say otherwise. A page whose own name
 * has been made to lead here is of the same site for its browser, which then says its name: nobody is asked by a name.
 */
const NO_OTHER_SITE = (async ({ headers }) => {
  const from = headers["sec-fetch-site"];
  const isOwn = from === undefined || from === "same-origin" || from === "none";
  if (isOwn && (headers.origin === undefined || isNumbered(headers.origin, headers.host))) return;
  throw new LeNet5Error("UNAUTHORIZED", "Expected a request of no other site for management but received one");
}) as onRequestAsyncHookHandler;

/** Whether an origin is the very address that is asked, and that an IP address or localhost. */
function isNumbered(origin: string, address: string | undefined): boolean {
  if (!URL.canParse(origin)) return false;
  const { host, hostname } = new URL(origin);
  const isOwnMachine = hostname === "localhost" || isIP(hostname.replace(/^\[|\]$/g, "")) !== 0;
  return isOwnMachine && host === address?.toLowerCase();
}

function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
