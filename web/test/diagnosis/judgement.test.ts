import { expect, test } from "vitest";
import type { CandidatePairReport } from "../../src/call/model";
import { causeOf, isPrivate, pairsOf } from "../../src/diagnosis/candidate_pairs";
import * as judge from "../../src/diagnosis/judgement";
import { figuresOf } from "../../src/diagnosis/media_probe";

const pair = (address: string, state: string): CandidatePairReport => ({
  local: { address: null, port: null, protocol: "udp", type: "host" },
  remote: { address, port: 10000, protocol: "udp", type: "host" },
  state,
  nominated: false,
  rttMs: null,
});
const token = (exp: number) => `e30.${btoa(JSON.stringify({ exp }))}.x`;

test.each([
  "10.1.2.3",
  "127.0.0.1",
  "172.20.0.1",
  "192.168.1.1",
  "169.254.1.1",
  "localhost",
  "::1",
  "fd00::1",
  "x.local",
])("%s is private", (address) => expect(isPrivate(address)).toBe(true));
test.each(["8.8.8.8", "172.32.0.1", "example.org", "2001:db8::1", "1.2.3"])("%s is public", (address) =>
  expect(isPrivate(address)).toBe(false),
);

test("the pairs of a connection are listed, those that answered first", () => {
  const list = [
    { id: "1", type: "candidate-pair", localCandidateId: "L", remoteCandidateId: "R", state: "failed" },
    {
      id: "2",
      type: "candidate-pair",
      localCandidateId: "L",
      remoteCandidateId: "?",
      state: "succeeded",
      nominated: true,
      currentRoundTripTime: 0.02,
    },
    { id: "L", type: "local-candidate", protocol: "udp", candidateType: "host" },
    { id: "R", type: "remote-candidate", address: "8.8.8.8", port: 1, protocol: "udp", candidateType: "host" },
  ];
  const pairs = pairsOf(new Map(list.map((one) => [one.id, one])));
  expect(pairs[0]).toMatchObject({
    state: "succeeded",
    nominated: true,
    rttMs: 20,
    remote: { address: null, type: "unknown" },
  });
  expect(pairs[1]).toMatchObject({ state: "failed", remote: { address: "8.8.8.8", port: 1 } });
});

test("a private address that a public page is given is the wrong one", () => {
  expect(causeOf([pair("10.0.0.1", "failed")], "call.example.org")).toBe("wrong-announced-address");
  expect(causeOf([pair("10.0.0.1", "failed")], "10.0.0.9")).toBe("udp-blocked");
  expect(causeOf([pair("8.8.8.8", "failed")], "call.example.org")).toBe("udp-blocked");
  expect(causeOf([pair("8.8.8.8", "failed"), pair("8.8.8.8", "succeeded")], "x.org")).toBeNull();
  expect(causeOf([], "x.org")).toBeNull();
});

test("what fails has a remedy, what passes has none", () => {
  const problem = { code: "device-in-use", kind: "video", message: "in use", remedy: "close it" } as const;
  const checks = [
    ...judge.judgeBrowser(false, false),
    judge.judgeDevice("video", [problem], null),
    judge.judgeGateway("https://g", "no answer"),
    judge.judgeClock(0, 3_600_000),
    judge.judgeToken(token(100), 160_000),
    judge.judgeTransport("udp-0", "udp", false, [pair("8.8.8.8", "failed")], "x.org"),
    judge.judgeTransport("tcp-0", "tcp", false, [], "x.org"),
    judge.judgeTransport("udp-0", "udp", false, [pair("10.0.0.1", "failed")], "x.org"),
    judge.judgePairs([pair("8.8.8.8", "failed")], "x.org"),
    judge.judgePairs([pair("10.0.0.1", "failed")], "x.org"),
    judge.judgeTurn(true, false),
    judge.judgeLoss(10, 100),
    judge.judgeRtt(900),
  ];
  for (const check of checks)
    expect(check).toMatchObject({ state: "failed", remedy: expect.stringMatching(/\w/) as string });
  const passing = [
    ...judge.judgeBrowser(true, true),
    judge.judgeDevice("audio", [problem], "Built-in"),
    judge.judgeGateway("https://g", null),
    judge.judgeClock(1000, 5000),
    judge.judgeToken(token(100), 0),
    judge.judgeTransport("udp-0", "udp", true, [pair("8.8.8.8", "succeeded")], "x.org"),
    judge.judgeTransport("udp-0", "udp", true, [], "x.org"),
    judge.judgePairs([pair("8.8.8.8", "succeeded")], "x.org"),
    judge.judgeTurn(true, true),
    judge.judgeLoss(1, 100),
    judge.judgeRtt(30),
  ];
  for (const check of passing) expect(check).toMatchObject({ state: "passed", remedy: null });
});

test("what was not tried is skipped", () => {
  const checks = [
    judge.judgeDevice("audio", [], null),
    judge.judgeClock(null, 0),
    judge.judgeClock(Number.NaN, 0),
    judge.judgeToken(null, 0),
    judge.judgeToken("x", 0),
    judge.judgePairs([], "x.org"),
    judge.judgeTurn(false, false),
    judge.judgeLoss(0, 0),
    judge.judgeRtt(null),
  ];
  for (const check of checks) expect(check.state).toBe("skipped");
});

test("the wrong announced address is named where it is the cause", () => {
  const check = judge.judgeTransport("udp-0", "udp", false, [pair("10.0.0.1", "failed")], "x.org");
  expect(check.remedy).toContain("ANNOUNCED_IP");
});

test("loss and delay are what the receiver reported", () => {
  const list = [
    { id: "O", type: "outbound-rtp", packetsSent: 500 },
    { id: "H", type: "remote-inbound-rtp", packetsLost: 5, roundTripTime: 0.04 },
  ];
  expect(figuresOf(new Map(list.map((one) => [one.id, one])))).toEqual({ pairs: [], sent: 500, lost: 5, rttMs: 40 });
});
