import { expect, test } from "vitest";
import { fragmentOfCandidate, fragmentsOf, judgeOffer, sessionOf } from "../../src/p2p/description";

const sdp = (session: string) => `v=0\r\no=- ${session} 2 IN IP4 127.0.0.1\r\ns=-\r\na=ice-ufrag:ab1\r\n`;

test("the session id is that of the o= line", () => {
  expect(sessionOf(sdp("77"))).toBe("77");
  expect(sessionOf("v=0")).toBeNull();
});

test("user fragments are read from descriptions and candidates", () => {
  expect([...fragmentsOf(sdp("1") + "a=ice-ufrag:cd2\r\n")]).toEqual(["ab1", "cd2"]);
  expect(fragmentOfCandidate("candidate:1 1 udp 1 1.2.3.4 5 typ host ufrag ab1 network-id 1")).toBe("ab1");
  expect(fragmentOfCandidate("candidate:1 1 udp 1 1.2.3.4 5 typ host")).toBeNull();
});

test("an offer of another peer connection begins anew", () => {
  expect(judgeOffer(null, sdp("1"))).toBe("anew");
  expect(judgeOffer({ session: null, polite: true, colliding: true }, sdp("1"))).toBe("anew");
  expect(judgeOffer({ session: "2", polite: false, colliding: true }, sdp("1"))).toBe("anew");
});

test("an offer of the same one goes on; in a collision the impolite side ignores it", () => {
  expect(judgeOffer({ session: "1", polite: false, colliding: false }, sdp("1"))).toBe("renegotiate");
  expect(judgeOffer({ session: "1", polite: true, colliding: true }, sdp("1"))).toBe("renegotiate");
  expect(judgeOffer({ session: "1", polite: false, colliding: true }, sdp("1"))).toBe("ignore");
});
