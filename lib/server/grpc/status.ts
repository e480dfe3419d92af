// Errors as gRPC says them: a code and a text that fits a header.
import { isLeNet5Error } from "../../errors.js";

/** The codes of gRPC that we use. */
export const CODE = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  resourceExhausted: 8,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** The code for each HTTP status of the table of errors. */
const CODE_OF_STATUS: Readonly<Record<number, number>> = {
  400: CODE.invalidArgument,
  401: CODE.unauthenticated,
  404: CODE.notFound,
  409: CODE.aborted,
  410: CODE.unavailable,
  413: CODE.resourceExhausted,
  499: CODE.cancelled,
  501: CODE.unimplemented,
  503: CODE.unavailable,
  504: CODE.deadlineExceeded,
  507: CODE.resourceExhausted,
};

const LONGEST_DETAILS = 1000;

/** How a call ended badly. */
export interface GrpcStatus {
  readonly code: number;
  readonly details: string;
  /** The HTTP status that fits, for the counters. */
  readonly httpStatus: number;
}

/** The status of an error. What is none of ours is our own fault, and nothing of it goes out. */
export function statusOf(error: unknown): GrpcStatus {
  if (!isLeNet5Error(error)) return { code: CODE.internal, details: "Internal server error", httpStatus: 500 };
  const { status: httpStatus = 500, message } = error;
  return { code: CODE_OF_STATUS[httpStatus] ?? CODE.internal, details: forHeader(message), httpStatus };
}

/** Half a pair of surrogates has no place in a header, nor has a text without end. */
function forHeader(text: string): string {
  const short = text.length > LONGEST_DETAILS ? `${text.slice(0, LONGEST_DETAILS)}…` : text;
  return short.replaceAll(/\p{Surrogate}/gu, "\ufffd");
}
