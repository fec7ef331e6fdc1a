/**
 * From the identity of a link to a token that the gateway takes.
 *
 * An invitation is exchanged once for a guest's token, which is kept for this tab: a reload comes back as the same person.
 */

import { InviteError, type Admission, type Identity } from "./identity";

/** What the exchange needs of its surroundings; tests hand in their own. */
export interface Exchange {
  readonly fetch: typeof globalThis.fetch;
  readonly session: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  readonly now: () => number;
}

interface Guest {
  readonly token: string;
  readonly conversationId: string;
  /** Milliseconds since 1970, by the clock of this device: when the token came, and when it ends. */
  readonly since: number;
  readonly until: number;
}

const GUEST_KEY = "meeshy.guest";

/** Get admission to the call of a link under a name. Rejects with `InviteError` when the link or the name is refused or nobody answers. */
export async function admit(
  identity: Exclude<Identity, { kind: "none" }>,
  name: string,
  exchange: Exchange,
): Promise<Admission> {
  if (identity.kind === "token") {
    const { token, conversationId } = identity;
    return { conversationId, name, token: () => Promise.resolve(token) };
  }
  const { invite } = identity;
  const former = recall(invite, exchange);
  let guest = former === null ? await become(invite, name, exchange) : await renew(former, invite, name, exchange);
  let renewal: Promise<Guest> | null = null;
  return {
    conversationId: guest.conversationId,
    name,
    token: async () => {
      if (exchange.now() < (guest.since + guest.until) / 2) return guest.token;
      // Several may ask at once; one renewal serves them all.
      renewal ??= renew(guest, invite, name, exchange).finally(() => (renewal = null));
      guest = await renewal;
      return guest.token;
    },
  };
}

/** Become a new guest. */
async function become(invite: string, name: string, exchange: Exchange): Promise<Guest> {
  const response = await post("/api/guests", { invite, name }, null, exchange);
  return accept(response, invite, exchange);
}

/** A new token for the same guest; one who is not known any more becomes a new guest. */
async function renew(guest: Guest, invite: string, name: string, exchange: Exchange): Promise<Guest> {
  const response = await post("/api/guests/renew", { name }, guest.token, exchange);
  return response.status === 401 ? become(invite, name, exchange) : accept(response, invite, exchange);
}

async function post(path: string, body: object, token: string | null, { fetch }: Exchange): Promise<Response> {
  const authorization = token === null ? {} : { authorization: `Bearer ${token}` };
  try {
    const headers = { "content-type": "application/json", ...authorization };
    return await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    throw new InviteError("unreachable");
  }
}

async function accept(response: Response, invite: string, { session, now }: Exchange): Promise<Guest> {
  const answer: unknown = await response.json().catch(() => null);
  if (!response.ok) throw new InviteError(reasonOf(response.status, answer));
  const guest = readGuest(field(answer, "data"), now());
  if (guest === null) throw new InviteError("unreachable");
  try {
    session?.setItem(GUEST_KEY, JSON.stringify({ invite, ...guest }));
  } catch {
    // Storage is refused: a reload comes back as another guest.
  }
  return guest;
}

function reasonOf(status: number, answer: unknown): InviteError["reason"] {
  if (status === 429) return "limited";
  if (status >= 500) return "unreachable";
  const path = field(field(field(answer, "error"), "details"), "path");
  return status === 400 && path === "name" ? "name" : "invalid";
}

function readGuest(data: unknown, now: number): Guest | null {
  const token = field(data, "token");
  const conversationId = field(data, "conversationId");
  if (typeof token !== "string" || typeof conversationId !== "string") return null;
  const since = field(data, "since");
  const until = field(data, "until");
  if (typeof since === "number" && typeof until === "number") return { token, conversationId, since, until };
  return { token, conversationId, since: now, until: now + lifetimeOf(token) };
}

/** How long a token lasts, by its own claims: the clocks of server and device may differ. */
export function lifetimeOf(token: string): number {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const claims: unknown = JSON.parse(atob(payload));
    const [issued, expires] = [field(claims, "iat"), field(claims, "exp")];
    if (typeof issued === "number" && typeof expires === "number") return (expires - issued) * 1000;
  } catch {
    // Not a JSON Web Token that can be read here; the gateway says when it has ended.
  }
  return Number.POSITIVE_INFINITY;
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** The guest that this tab was, for the same invitation. */
function recall(invite: string, { session, now }: Exchange): Guest | null {
  try {
    const kept: unknown = JSON.parse(session?.getItem(GUEST_KEY) ?? "null");
    return field(kept, "invite") === invite ? readGuest(kept, now()) : null;
  } catch {
    return null;
  }
}

/** A call that goes on in the conversation before one has joined; null when there is none or it cannot be asked for. */
export interface OngoingCall {
  readonly people: number;
  readonly startedAt: number | null;
}

export async function ongoingCall(identity: Identity, { fetch }: Pick<Exchange, "fetch">): Promise<OngoingCall | null> {
  if (identity.kind !== "token") return null;
  try {
    const conversation = encodeURIComponent(identity.conversationId);
    const response = await fetch(`/api/conversations/${conversation}/active-call`, {
      headers: { authorization: `Bearer ${identity.token}` },
    });
    if (!response.ok) return null;
    const answer: unknown = await response.json();
    return readOngoing(field(answer, "data") ?? answer);
  } catch {
    return null;
  }
}

function readOngoing(found: unknown): OngoingCall | null {
  const call = field(found, "call") ?? found;
  const participants = field(call, "participants");
  if (!Array.isArray(participants)) return null;
  const there = participants.filter((one) => field(one, "leftAt") == null);
  const startedAt = Date.parse(String(field(call, "startedAt")));
  return there.length === 0 ? null : { people: there.length, startedAt: Number.isNaN(startedAt) ? null : startedAt };
}
