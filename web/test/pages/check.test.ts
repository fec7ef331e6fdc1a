import { describe, expect, it } from "vitest";
import type { Diagnosis } from "../../src/call/model";
import type { CheckConfig } from "../../src/diagnosis/diagnosis";
import { runInCall } from "../../src/pages/CheckRoute";
import { isForChecks, openCheckCall, type CheckCall } from "../../src/pages/check_room";

const NOTHING: Diagnosis = { checks: [], pairs: [] };

function exchange(conversationId: string) {
  const asked: string[] = [];
  const fetch = (path: RequestInfo | URL): Promise<Response> => {
    asked.push(typeof path === "string" ? path : "not a path");
    return Promise.resolve(new Response(JSON.stringify({ data: { token: "t", conversationId } }), { status: 201 }));
  };
  return { asked, fetch, session: null, now: () => 0 };
}

describe("the call of a check", () => {
  it("is begun in conversations made for checks alone", async () => {
    expect([isForChecks("check-4f2a"), isForChecks("demo"), isForChecks("my-check-1")]).toEqual([true, false, false]);
    const around = exchange("demo");
    expect(await openCheckCall({ kind: "invite", invite: "i" }, around)).toBeNull();
    expect(around.asked).toEqual(["/api/guests"]);
  });

  it("needs an invitation", async () => {
    const around = exchange("check-1");
    expect(await openCheckCall({ kind: "none" }, around)).toBeNull();
    expect(await openCheckCall({ kind: "token", token: "t", conversationId: "c", name: null }, around)).toBeNull();
    expect(around.asked).toEqual([]);
  });

  it("is ended when the checks are done, also when they fail", async () => {
    let closed = 0;
    const room = { url: "u", token: "m", callId: "c", participantId: "p" };
    const call: CheckCall = { token: "t", rooms: [room], iceServers: [], close: () => (closed += 1) };
    const seen: CheckConfig[] = [];
    const check = (config: CheckConfig): Promise<Diagnosis> => {
      seen.push(config);
      return seen.length === 1 ? Promise.resolve(NOTHING) : Promise.reject(new Error("broken"));
    };
    const open = () => Promise.resolve(call);
    expect(await runInCall(open, () => undefined, check)).toBe(NOTHING);
    await expect(runInCall(open, () => undefined, check)).rejects.toThrow("broken");
    expect(closed).toBe(2);
    expect(seen[0]).toEqual({ token: "t", rooms: [room], iceServers: [] });
  });

  it("that cannot be begun leaves the other checks", async () => {
    const seen: CheckConfig[] = [];
    const check = (config: CheckConfig): Promise<Diagnosis> => {
      seen.push(config);
      return Promise.resolve(NOTHING);
    };
    await runInCall(
      () => Promise.reject(new Error("refused")),
      () => undefined,
      check,
    );
    expect(seen).toEqual([{}]);
  });
});
