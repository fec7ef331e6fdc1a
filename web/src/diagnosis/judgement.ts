/** What each check found, in words, and what a user can do about it. Pure; texts are English, for logs. */
import type { CandidatePairReport, Check, MediaProblem } from "../call/model";
import { claimsOf } from "../call/user_token";
import { causeOf } from "./candidate_pairs";

const REMEDIES = {
  "insecure-origin": "Open the page over HTTPS.",
  "unsupported-browser": "Use a current Chrome, Edge, Firefox or Safari.",
  "gateway-unreachable": "Check the network connection, and that the server runs.",
  "clock-skew": "Set the clock of this device, or let it be set automatically.",
  "token-expired": "Open the invitation again.",
  "udp-blocked": "This network lets no UDP through. Use another network, or ask for a TURN server on TCP port 443.",
  "tcp-blocked": "Calls work over UDP; on networks without UDP this server cannot be reached.",
  "no-answer": "A firewall is in the way. Use another network, or let the server's media ports through.",
  "wrong-announced-address": "The server announces an address that only its own network reaches: set ANNOUNCED_IP.",
  turn: "Check address, credentials and firewall of the TURN server.",
  loss: "The connection loses packets. Move closer to the access point or use a cable.",
  rtt: "The way to the server is long. Close downloads, or use another network.",
} as const;

const MAX_SKEW_MS = 60_000;
const MAX_LOSS = 0.03;
const MAX_RTT_MS = 400;

export const passed = (id: string, detail: string): Check => ({ id, state: "passed", detail, remedy: null });
export const skipped = (id: string, detail: string): Check => ({ id, state: "skipped", detail, remedy: null });
export const failed = (id: string, detail: string, remedy: string): Check => ({ id, state: "failed", detail, remedy });

export function judgeBrowser(secure: boolean, webrtc: boolean): Check[] {
  return [
    secure
      ? passed("secure-origin", "devices may be opened on this page")
      : failed("secure-origin", "devices are opened only on pages over HTTPS", REMEDIES["insecure-origin"]),
    webrtc
      ? passed("browser", "the browser has WebRTC")
      : failed("browser", "the browser has no WebRTC", REMEDIES["unsupported-browser"]),
  ];
}

export function judgeDevice(kind: "audio" | "video", problems: readonly MediaProblem[], label: string | null): Check {
  const id = kind === "audio" ? "microphone" : "camera";
  const problem = problems.find((one) => one.kind === kind);
  if (problem) return failed(id, problem.message, problem.remedy);
  return label === null ? skipped(id, "was not asked for") : passed(id, label);
}

export function judgeGateway(url: string, error: string | null): Check {
  if (error === null) return passed("gateway", `${url} answers`);
  return failed("gateway", error, REMEDIES["gateway-unreachable"]);
}

export function judgeClock(serverTime: number | null, now: number): Check {
  if (serverTime === null || Number.isNaN(serverTime)) return skipped("clock", "the server's time is not known");
  const off = now - serverTime;
  const words = `${Math.abs(Math.round(off / 1000))} s ${off < 0 ? "behind" : "ahead of"} the server's`;
  if (Math.abs(off) <= MAX_SKEW_MS) return passed("clock", `this clock is ${words}`);
  return failed("clock", `this clock is ${words}`, REMEDIES["clock-skew"]);
}

export function judgeToken(token: string | null, serverNow: number): Check {
  if (!token) return skipped("token", "no token was given");
  const { exp } = claimsOf(token);
  if (exp === null) return skipped("token", "the token does not say when it ends");
  const leftS = Math.round(exp - serverNow / 1000);
  if (leftS > 0) return passed("token", `valid for ${leftS} s`);
  return failed("token", `expired ${-leftS} s ago`, REMEDIES["token-expired"]);
}

export function judgeTransport(
  id: string,
  protocol: "udp" | "tcp",
  connected: boolean,
  pairs: readonly CandidatePairReport[],
  host: string,
): Check {
  if (connected) {
    const pair = pairs.find((one) => one.state === "succeeded");
    return passed(id, pair ? `${pair.remote.address ?? "?"}:${pair.remote.port ?? "?"} answers` : "connected");
  }
  const cause = causeOf(pairs, host);
  const detail = pairs.length === 0 ? "no candidate pair was formed" : `${pairs.length} candidate pairs, none answered`;
  if (cause === "wrong-announced-address") return failed(id, detail, REMEDIES["wrong-announced-address"]);
  return failed(id, detail, REMEDIES[protocol === "udp" ? "udp-blocked" : "tcp-blocked"]);
}

export function judgePairs(pairs: readonly CandidatePairReport[], host: string): Check {
  const cause = causeOf(pairs, host);
  if (pairs.length === 0) return skipped("connection", "no connection was tried");
  if (cause === null) return passed("connection", "a candidate pair answers");
  const detail = `${pairs.length} candidate pairs, none answered`;
  return failed("connection", detail, REMEDIES[cause === "wrong-announced-address" ? cause : "no-answer"]);
}

export function judgeTurn(configured: boolean, relayed: boolean): Check {
  if (!configured) return skipped("turn", "no TURN server is configured");
  if (relayed) return passed("turn", "the TURN server relays");
  return failed("turn", "the TURN server gave no relay address", REMEDIES.turn);
}

export function judgeLoss(lost: number, sent: number): Check {
  if (sent === 0) return skipped("loss", "nothing was sent");
  const ratio = Math.max(0, lost) / sent;
  const detail = `${(ratio * 100).toFixed(1)} % of ${sent} packets lost`;
  return ratio <= MAX_LOSS ? passed("loss", detail) : failed("loss", detail, REMEDIES.loss);
}

export function judgeRtt(rttMs: number | null): Check {
  if (rttMs === null) return skipped("rtt", "was not measured");
  const detail = `${Math.round(rttMs)} ms`;
  return rttMs <= MAX_RTT_MS ? passed("rtt", detail) : failed("rtt", detail, REMEDIES.rtt);
}
