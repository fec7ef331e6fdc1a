import { describe, expect, it } from "vitest";
import type { CallClientLike, LocalMedia } from "../../src/call/model";
import { admit, lifetimeOf, ongoingCall } from "../../src/pages/admission";
import type { Admission, Identity } from "../../src/pages/identity";
import { Visit, type VisitNeeds } from "../../src/store/visit";
import { CallDouble } from "../call_double";
import { LOCAL, callState } from "../call_state";

const NOTHING: LocalMedia = { audio: null, video: null };
const INVITE: Exclude<Identity, { kind: "none" }> = { kind: "invite", invite: "inv" };
const TOKEN: Exclude<Identity, { kind: "none" }> = { kind: "token", token: "tok", conversationId: "room", name: "Ada" };

function jwt(claims: object): string {
  return `x.${btoa(JSON.stringify(claims)).replaceAll("=", "")}.y`;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

function surroundings(answers: (Answer | "offline")[]) {
  const requests: { path: string; body: unknown; authorization: string | null }[] = [];
  const kept = new Map<string, string>();
  const clock = { now: 1_000_000 };
  const fetch = (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const path = typeof input === "string" ? input : "not a path";
    const body: unknown = typeof init?.body === "string" ? JSON.parse(init.body) : null;
    requests.push({
      path,
      body,
      authorization: new Headers(init?.headers).get("authorization"),
    });
    const answer = answers.shift();
    if (answer === undefined) throw new Error(`no answer left for ${path}`);
    if (answer === "offline") return Promise.reject(new TypeError("network"));
    return Promise.resolve(new Response(JSON.stringify(answer.body), { status: answer.status }));
  };
  const session = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
  return { requests, kept, clock, exchange: { fetch, session, now: () => clock.now } };
}

function guest(token: string, status = 201): Answer {
  return { status, body: { success: true, data: { token, userId: "guest-1", conversationId: "room" } } };
}

function refused(status: number, error: object = {}): Answer {
  return { status, body: { success: false, error } };
}

describe("admission by an invitation", () => {
  it("makes a guest of the name, once", async () => {
    const { requests, exchange } = surroundings([guest(jwt({ iat: 0, exp: 900 }))]);
    const admission = await admit(INVITE, "Ada", exchange);
    expect(requests).toEqual([{ path: "/api/guests", body: { invite: "inv", name: "Ada" }, authorization: null }]);
    expect(admission.conversationId).toBe("room");
    expect(await admission.token()).toBe(jwt({ iat: 0, exp: 900 }));
    expect(requests).toHaveLength(1);
  });

  it("renews the token at half of its life, once for all who ask", async () => {
    const first = jwt({ iat: 0, exp: 900 });
    const second = jwt({ iat: 450, exp: 1350 });
    const { requests, clock, exchange } = surroundings([guest(first), guest(second, 200)]);
    const admission = await admit(INVITE, "Ada", exchange);
    clock.now += 449_000;
    expect(await admission.token()).toBe(first);
    clock.now += 2000;
    expect(await Promise.all([admission.token(), admission.token()])).toEqual([second, second]);
    expect(requests[1]).toEqual({ path: "/api/guests/renew", body: { name: "Ada" }, authorization: `Bearer ${first}` });
    expect(requests).toHaveLength(2);
  });

  it("comes back as the same guest after a reload, under a new name if that was changed", async () => {
    const { requests, exchange } = surroundings([guest("one"), guest("two", 200)]);
    await admit(INVITE, "Ada", exchange);
    const again = await admit(INVITE, "Ada L.", exchange);
    expect(await again.token()).toBe("two");
    expect(requests[1]).toEqual({ path: "/api/guests/renew", body: { name: "Ada L." }, authorization: "Bearer one" });
  });

  it("becomes a new guest when the former one is not known any more, or the invitation is another", async () => {
    const { requests, exchange } = surroundings([guest("one"), refused(401), guest("two"), guest("three")]);
    await admit(INVITE, "Ada", exchange);
    expect(await (await admit(INVITE, "Ada", exchange)).token()).toBe("two");
    await admit({ kind: "invite", invite: "other" }, "Ada", exchange);
    expect(requests.map((one) => one.path)).toEqual(["/api/guests", "/api/guests/renew", "/api/guests", "/api/guests"]);
  });

  it.each([
    [refused(401, { code: "UNAUTHORIZED" }), "invalid"],
    [refused(403), "invalid"],
    [refused(400, { details: { path: "invite" } }), "invalid"],
    [refused(400, { details: { path: "name" } }), "name"],
    [refused(429), "limited"],
    [refused(503), "unreachable"],
    [{ status: 201, body: { success: true, data: {} } }, "unreachable"],
    ["offline", "unreachable"],
  ] as const)("refused as %j is %s", async (answer, reason) => {
    const { exchange } = surroundings([answer]);
    await expect(admit(INVITE, "Ada", exchange)).rejects.toMatchObject({ reason });
  });

  it("by a token of the link asks nobody", async () => {
    const { requests, exchange } = surroundings([]);
    const admission = await admit(TOKEN, "Ada", exchange);
    expect([admission.conversationId, await admission.token(), requests.length]).toEqual(["room", "tok", 0]);
  });

  it("takes a token that it cannot read as one that lasts", () => {
    expect(lifetimeOf("opaque")).toBe(Number.POSITIVE_INFINITY);
    expect(lifetimeOf(jwt({ exp: 5 }))).toBe(Number.POSITIVE_INFINITY);
    expect(lifetimeOf(jwt({ iat: 100, exp: 160 }))).toBe(60_000);
  });
});

describe("a call that goes on", () => {
  it("is told with its people before one joins", async () => {
    const call = { startedAt: "1970-01-01T00:10:00Z", participants: [{}, { leftAt: null }, { leftAt: "1970-01-01" }] };
    const { requests, exchange } = surroundings([{ status: 200, body: { success: true, data: { call } } }]);
    expect(await ongoingCall(TOKEN, exchange)).toEqual({ people: 2, startedAt: 600_000 });
    expect(requests[0]).toMatchObject({ path: "/api/conversations/room/active-call", authorization: "Bearer tok" });
  });

  it("is none when there is none, or it cannot be asked for", async () => {
    const { exchange } = surroundings([
      { status: 200, body: { success: true, data: { call: null } } },
      refused(500),
      "offline",
    ]);
    for (let attempt = 0; attempt < 3; attempt += 1) expect(await ongoingCall(TOKEN, exchange)).toBeNull();
    expect(await ongoingCall(INVITE, exchange)).toBeNull();
  });
});

function visit(identity: Identity, answers: (Answer | "offline")[], change: Partial<VisitNeeds> = {}) {
  const around = surroundings(answers);
  const clients: CallDouble[] = [];
  const entered: { admission: Admission; media: LocalMedia }[] = [];
  const wishes: unknown[] = [];
  const needs: VisitNeeds = {
    exchange: around.exchange,
    enter: (admission, media) => {
      entered.push({ admission, media });
      const client = new CallDouble(callState(2));
      clients.push(client);
      return Promise.resolve<CallClientLike>(client);
    },
    openMedia: (wish) => {
      wishes.push(wish);
      return Promise.resolve(NOTHING);
    },
    ...change,
  };
  const link = identity.kind === "none" ? null : "https://call.example/#invite=inv";
  const make = (): Visit => new Visit({ identity, link }, needs);
  return { ...around, visit: make(), again: make, clients, entered, wishes };
}

describe("a visit", () => {
  it("without a link says so", async () => {
    const { visit: page, requests } = visit({ kind: "none" }, []);
    await page.begin();
    expect(page.current()).toEqual({ kind: "no-link" });
    expect(requests).toEqual([]);
  });

  it("joins, and takes the media only when the link has been accepted", async () => {
    const { visit: page, entered } = visit(INVITE, [refused(401), guest("one")]);
    await page.begin();
    let taken = 0;
    const take = (): LocalMedia => {
      taken += 1;
      return NOTHING;
    };
    await page.join("Ada", take);
    expect(page.current()).toEqual({ kind: "prejoin", joining: false, refusal: "invalid" });
    expect(taken).toBe(0);
    await page.join("Ada", take);
    expect(page.current().kind).toBe("call");
    expect(taken).toBe(1);
    expect(entered[0]?.admission.conversationId).toBe("room");
  });

  it("joins once, however often the button is pressed", async () => {
    const { visit: page, entered } = visit(INVITE, [guest("one")]);
    await page.begin();
    await Promise.all([page.join("Ada", () => NOTHING), page.join("Ada", () => NOTHING)]);
    expect(entered).toHaveLength(1);
  });

  it("goes straight back after a reload, with the devices as they were", async () => {
    const { visit: page, again, clients, wishes } = visit(INVITE, [guest("one"), guest("two", 200)]);
    await page.begin();
    await page.join("Ada", () => NOTHING);
    clients[0]?.set({ local: { ...LOCAL, camera: "off" } });
    page.unload();
    expect(clients[0]?.asked).toEqual(["close"]);
    const reloaded = again();
    await reloaded.begin();
    expect(reloaded.current().kind).toBe("call");
    expect(wishes).toEqual([{ name: "Ada", microphone: true, camera: false }]);
  });

  it.each([{ stage: "ended" as const }, { stage: "failed" as const }, { replaced: true }])(
    "does not go back after a reload when the call was %j",
    async (change) => {
      const { visit: page, again, clients } = visit(INVITE, [guest("one")]);
      await page.begin();
      await page.join("Ada", () => NOTHING);
      clients[0]?.set(change);
      const reloaded = again();
      await reloaded.begin();
      expect(reloaded.current().kind).toBe("prejoin");
    },
  );

  it("goes back to the page before the call, and closes its client", async () => {
    const { visit: page, clients } = visit(INVITE, [guest("one")]);
    await page.begin();
    await page.join("Ada", () => NOTHING);
    page.back();
    expect(page.current().kind).toBe("prejoin");
    expect(clients[0]?.asked).toContain("close");
  });

  it("takes the call back from another tab, as the same guest", async () => {
    const { visit: page, clients, requests, wishes } = visit(INVITE, [guest("one"), guest("two", 200)]);
    await page.begin();
    await page.join("Ada", () => NOTHING);
    clients[0]?.set({ replaced: true });
    await page.takeBack();
    expect(page.current()).toEqual({ kind: "call", client: clients[1] });
    expect(requests[1]?.path).toBe("/api/guests/renew");
    expect(wishes).toHaveLength(1);
  });

  it("shows that a client could not be made, and lets one try again", async () => {
    const { visit: page } = visit(TOKEN, [refused(404)], { enter: () => Promise.reject(new Error("no chunk")) });
    await page.begin();
    await page.join("Ada", () => NOTHING);
    expect(page.current()).toEqual({ kind: "prejoin", joining: false, refusal: "unknown" });
  });
});
