/** Requests to the REST APIs of both services: envelope, rate limits, and the check of what is answered. */
import { checked, type Shape, type Shapes } from "./check";
import { RefusedError, textOf, UnreachableError, unwrapped } from "./errors";

export interface Service {
  /** Origin, without a slash at the end. */
  readonly url: string;
  readonly token: () => string;
  readonly shapes: Shapes;
  readonly answers: Readonly<Partial<Record<string, Shape>>>;
}

const REQUEST_TIMEOUT_MS = 10_000;
const MAX_WAIT_S = 20;

const wait = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    });
  });

/** Fill `{callId}` and the like into a route of the schema. */
export const pathOf = (route: string, ids: Readonly<Record<string, string>>): string =>
  route
    .slice(route.indexOf(" ") + 1)
    .replace(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(ids[name] ?? name));

/** Ask once; a rate limit is waited for, at most twice. */
export async function request<T>(
  service: Service,
  route: string,
  ids: Readonly<Record<string, string>>,
  body?: unknown,
  signal?: AbortSignal,
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return checked<T>(service.shapes, service.answers[route], await ask(service, route, ids, body, signal), route);
    } catch (error) {
      const limited = error instanceof RefusedError && error.code === "RATE_LIMIT_EXCEEDED";
      const waitS = limited ? (error.retryAfterS ?? 1) : Infinity;
      if (attempt >= 2 || waitS > MAX_WAIT_S || signal?.aborted) throw error;
      await wait(waitS * 1000, signal);
      signal?.throwIfAborted();
    }
  }
}

async function ask(
  service: Service,
  route: string,
  ids: Readonly<Record<string, string>>,
  body: unknown,
  signal?: AbortSignal,
): Promise<unknown> {
  const limit = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(service.url + pathOf(route, ids), {
      method: route.slice(0, route.indexOf(" ")),
      headers: { Authorization: `Bearer ${service.token()}`, "Content-Type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: "no-store",
      keepalive: false,
    });
  } catch (error) {
    throw new UnreachableError(`${route}: ${service.url} does not answer: ${textOf(error)}`);
  }
  return unwrapped(route, await response.json().catch(() => null));
}
