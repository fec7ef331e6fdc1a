/** Errors of the wire: what a service refused, and what never got an answer. */

export interface ErrorFields {
  readonly code: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>> | null;
  readonly retryAfter?: number | null;
}

/** A service refused a request. `code` is of the service's documentation. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;
  /** Seconds to wait before trying again, of a rate limit. */
  readonly retryAfterS: number | null;

  constructor(what: string, error: ErrorFields) {
    super(`${what}: ${error.code}: ${error.message}`);
    this.code = error.code;
    this.details = error.details ?? {};
    this.retryAfterS = error.retryAfter ?? null;
  }
}

/** No answer came: the service cannot be reached, or the connection broke. */
export class UnreachableError extends Error {
  override readonly name = "UnreachableError";
}

export const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Read the envelope of an answer: its data, or the error thrown. */
export function unwrapped(what: string, envelope: unknown): unknown {
  if (typeof envelope !== "object" || envelope === null)
    throw new UnreachableError(`${what}: no answer of the service`);
  const { success, data, error, retryAfter } = envelope as Record<string, unknown>;
  if (success === true) return data;
  const fields = typeof error === "object" && error !== null ? (error as Partial<ErrorFields>) : {};
  throw new RefusedError(what, {
    code: typeof fields.code === "string" ? fields.code : "UNKNOWN",
    message: typeof fields.message === "string" ? fields.message : "the service refused without a reason",
    details: fields.details ?? null,
    retryAfter: fields.retryAfter ?? (typeof retryAfter === "number" ? retryAfter : null),
  });
}
