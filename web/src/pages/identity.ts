/**
 * Who opens the page: read from the fragment of the link, which no server ever sees.
 *
 * `#invite=…` is exchanged for a token of a guest with the name that was entered; `#token=…&conversation=…` carries one.
 * The fragment is taken out of the address bar, so that it is in no screenshot; the link itself is kept for "copy link" and for a reload.
 */

export type Identity =
  | { readonly kind: "invite"; readonly invite: string }
  | { readonly kind: "token"; readonly token: string; readonly conversationId: string; readonly name: string | null }
  | { readonly kind: "none" };

/** Where a call is, and how to get tokens for it. */
export interface Admission {
  readonly conversationId: string;
  /** The token to connect with; fetched anew when the former is about to expire. */
  readonly token: () => Promise<string>;
  readonly name: string;
}

export function readFragment(fragment: string): Identity {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  const invite = fields.get("invite");
  if (invite !== null && invite !== "") return { kind: "invite", invite };
  const token = fields.get("token");
  const conversationId = fields.get("conversation");
  if (token !== null && token !== "" && conversationId !== null && conversationId !== "") {
    return { kind: "token", token, conversationId, name: fields.get("name") };
  }
  return { kind: "none" };
}

const SESSION_KEY = "meeshy.fragment";

interface Surroundings {
  readonly location: Pick<Location, "hash" | "href" | "pathname" | "search">;
  readonly history: Pick<History, "replaceState">;
  readonly session: Pick<Storage, "getItem" | "setItem"> | null;
}

export interface Opened {
  readonly identity: Identity;
  /** The whole link, with its fragment; null when the page was opened without one. */
  readonly link: string | null;
}

/** Read the identity once, take the fragment out of the address bar and keep it for a reload of this tab. */
export function openLink({ location, history, session }: Surroundings): Opened {
  const fresh = readFragment(location.hash).kind !== "none";
  const fragment = fresh ? location.hash : (stored(session) ?? "");
  const identity = readFragment(fragment);
  if (identity.kind === "none") return { identity, link: null };
  if (fresh) {
    try {
      session?.setItem(SESSION_KEY, fragment);
    } catch {
      // Storage is refused: a reload will ask for the link again.
    }
    history.replaceState(null, "", location.pathname + location.search);
  }
  const address = location.href.split("#")[0] ?? "";
  return { identity, link: address + fragment };
}

function stored(session: Surroundings["session"]): string | null {
  try {
    return session?.getItem(SESSION_KEY) ?? null;
  } catch {
    return null;
  }
}

export class InviteError extends Error {
  constructor(readonly reason: "invalid" | "unreachable" | "limited" | "name") {
    super(`the invitation was not exchanged: ${reason}`);
    this.name = "InviteError";
  }
}
