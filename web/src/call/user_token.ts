/** The user's token: what it claims, and when to get a new one. Pure but for the decoding of base64. */

export interface Claims {
  readonly iat: number | null;
  readonly exp: number | null;
}

/** Read the times a token claims, without verifying it: that is the server's part. */
export function claimsOf(token: string): Claims {
  try {
    const body = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const claims: unknown = JSON.parse(atob(body));
    const { iat, exp } = claims as Record<string, unknown>;
    return { iat: typeof iat === "number" ? iat : null, exp: typeof exp === "number" ? exp : null };
  } catch {
    return { iat: null, exp: null };
  }
}

const SKEW_S = 60;
const MAX_TIMER_MS = 2 ** 31 - 1;

/** How far this clock is behind the one that signed the token, at least; 0 if nothing shows that it is. */
export function clockBehindS({ iat }: Claims, nowMs: number): number {
  const behind = iat === null ? 0 : iat - nowMs / 1000;
  return behind > SKEW_S ? behind : 0;
}

/** Milliseconds until a token should be renewed: a fifth of its life before it ends, at most a minute; null: never. */
export function renewInMs(claims: Claims, nowMs: number): number | null {
  if (claims.exp === null) return null;
  const nowS = nowMs / 1000 + clockBehindS(claims, nowMs);
  const lifeS = claims.exp - (claims.iat ?? nowS);
  const earlyS = Math.min(60, Math.max(1, lifeS / 5));
  return Math.min(MAX_TIMER_MS, Math.max(0, (claims.exp - earlyS - nowS) * 1000));
}
