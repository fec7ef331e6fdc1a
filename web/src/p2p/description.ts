/** What a session description says of its peer connection. Pure. */

/** The session id of the `o=` line: the same as long as the peer connection behind it is the same. */
export function sessionOf(sdp: string): string | null {
  return /^o=\S+ (\S+) /m.exec(sdp)?.[1] ?? null;
}

/** The ICE user fragments of a description. */
export function fragmentsOf(sdp: string): ReadonlySet<string> {
  return new Set([...sdp.matchAll(/^a=ice-ufrag:(\S+)/gm)].map((found) => found[1] ?? ""));
}

/** The user fragment that a candidate line carries, if any. */
export function fragmentOfCandidate(candidate: string): string | null {
  return /\bufrag (\S+)/.exec(candidate)?.[1] ?? null;
}

/**
 * What to do with an offer: go on with the connection there is, if it comes from the same peer connection, else begin
 * anew. An offer that meets an own one is ignored by the impolite side.
 */
export function judgeOffer(
  known: { readonly session: string | null; readonly polite: boolean; readonly colliding: boolean } | null,
  sdp: string,
): "anew" | "renegotiate" | "ignore" {
  if (!known?.session || known.session !== sessionOf(sdp)) return "anew";
  return known.colliding && !known.polite ? "ignore" : "renegotiate";
}
