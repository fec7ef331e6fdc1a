/** What an error of the wire is for a user: a code of the closed list that pages have texts for. */
import { RefusedError, textOf, UnreachableError } from "../wire/errors";
import type { Diagnosis, Failure, FailureCode } from "./model";

const CODES: Readonly<Record<string, FailureCode>> = {
  NOT_AUTHENTICATED: "token-expired",
  UNAUTHORIZED: "token-invalid",
  PERMISSION_DENIED: "token-invalid",
  VIDEO_CALLS_NOT_SUPPORTED: "token-invalid",
  CALL_NOT_FOUND: "call-ended",
  CALL_ENDED: "call-ended",
  MAX_PARTICIPANTS_REACHED: "call-full",
  ROOM_FULL: "call-full",
  SERVER_AT_CAPACITY: "call-full",
  KICKED: "kicked",
  RATE_LIMIT_EXCEEDED: "rate-limited",
  MEDIA_SERVER_ERROR: "media-unreachable",
  SERVICE_UNAVAILABLE: "media-unreachable",
  MODE_SWITCH_FAILED: "media-unreachable",
};

/** The code for a refused connection: the token's fault, or the network's. */
export function codeOfRefusal(code: string | null, message: string): FailureCode {
  if (code === null) return "gateway-unreachable";
  if (/expired/i.test(message)) return "token-expired";
  if (/\b(iat|nbf|not yet valid)\b/i.test(message)) return "clock-skew";
  return CODES[code] ?? "unknown";
}

export function failureOf(error: unknown, diagnosis: Diagnosis | null = null): Failure {
  const message = textOf(error);
  if (error instanceof RefusedError) return { code: codeOfRefusal(error.code, message), message, diagnosis };
  if (error instanceof UnreachableError) return { code: "gateway-unreachable", message, diagnosis };
  if (error instanceof Error && error.name === "UnsupportedError") {
    return { code: "unsupported-browser", message, diagnosis };
  }
  return { code: "unknown", message, diagnosis };
}
