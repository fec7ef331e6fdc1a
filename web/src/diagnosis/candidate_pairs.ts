/** Which candidate pairs a connection has tried, from its statistics, and what their outcome says. Pure. */
import type { CandidatePairReport, CandidateReport, FailureCode } from "../call/model";

interface Report {
  readonly id: string;
  readonly type: string;
  readonly localCandidateId?: string;
  readonly remoteCandidateId?: string;
  readonly state?: string;
  readonly nominated?: boolean;
  readonly currentRoundTripTime?: number;
  readonly address?: string;
  readonly ip?: string;
  readonly port?: number;
  readonly protocol?: string;
  readonly candidateType?: string;
}

/** List the pairs of one connection's reports, those that answered first. */
export function pairsOf(reports: ReadonlyMap<string, unknown>): CandidatePairReport[] {
  const all = reports as ReadonlyMap<string, Report>;
  const found: CandidatePairReport[] = [];
  for (const report of all.values()) {
    if (report.type !== "candidate-pair") continue;
    found.push({
      local: candidateOf(all.get(report.localCandidateId ?? "")),
      remote: candidateOf(all.get(report.remoteCandidateId ?? "")),
      state: report.state ?? "unknown",
      nominated: report.nominated ?? false,
      rttMs: report.currentRoundTripTime === undefined ? null : report.currentRoundTripTime * 1000,
    });
  }
  return found.sort((one, other) => Number(answered(other)) - Number(answered(one)));
}

function candidateOf(report: Report | undefined): CandidateReport {
  return {
    // Browsers hide the own address until a device was allowed.
    address: report?.address ?? report?.ip ?? null,
    port: report?.port ?? null,
    protocol: report?.protocol ?? "unknown",
    type: report?.candidateType ?? "unknown",
  };
}

const answered = (pair: CandidatePairReport): boolean => pair.state === "succeeded";

/** Whether an address is reached only from its own machine or network. */
export function isPrivate(address: string): boolean {
  const host = address.replace(/^\[|\]$/g, "").toLowerCase();
  if (host === "localhost" || host === "::1" || host.endsWith(".local")) return true;
  if (/^(fc|fd|fe8|fe9|fea|feb)[0-9a-f]*:/.test(host)) return true;
  const parts = host.split(".").map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part))) return false;
  const [first = 0, second = 0] = parts;
  return (
    first === 10 ||
    first === 127 ||
    (first === 172 && second >= 16 && second < 32) ||
    (first === 192 && second === 168) ||
    (first === 169 && second === 254)
  );
}

/** Why no pair answered; null if one did, or none was tried. `host` is where the page reaches its server. */
export function causeOf(pairs: readonly CandidatePairReport[], host: string): FailureCode | null {
  if (pairs.length === 0 || pairs.some(answered)) return null;
  const remote = pairs.flatMap(({ remote }) => remote.address ?? []);
  if (remote.length > 0 && remote.every(isPrivate) && !isPrivate(host)) return "wrong-announced-address";
  return "udp-blocked";
}
