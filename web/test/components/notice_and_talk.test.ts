import { describe, expect, it } from "vitest";
import { SILENT, TALK_KEY, talkStep, usesTalkKey, type TalkInput } from "../../src/components/push_to_talk";
import { NOTICE_AFTER_MS, noticeOf } from "../../src/components/transition_notice";

describe("the notice of a switch", () => {
  const toGroup = { to: "sfu", since: 1000, attempt: 1, failed: null } as const;

  it("is not shown before 300 ms have passed", () => {
    expect(noticeOf(toGroup, 1299)).toEqual({ notice: null, nextAt: 1000 + NOTICE_AFTER_MS });
    expect(noticeOf(toGroup, 1300).notice).toMatchObject({ text: "switch.toGroup", failed: false });
  });

  it("is shown only while the switch lasts", () => {
    expect(noticeOf(null, 9000)).toEqual({ notice: null, nextAt: null });
  });

  it("has a wording of its own for each direction, and for a failure at once", () => {
    expect(noticeOf({ ...toGroup, to: "p2p" }, 2000).notice?.text).toBe("switch.toDirect");
    expect(noticeOf({ ...toGroup, failed: "timeout", attempt: 2 }, 1001).notice).toEqual({
      text: "switch.toGroupFailed",
      failed: true,
      attempt: 2,
    });
    expect(noticeOf({ ...toGroup, to: "p2p", failed: "x" }, 1001).notice?.text).toBe("switch.toDirectFailed");
  });
});

describe("push to talk", () => {
  const down: TalkInput = { kind: "down", code: TALK_KEY, repeat: false, modified: false, taken: false };

  it("switches a muted microphone on while the key is held", () => {
    const begun = talkStep(SILENT, down, "muted");
    expect(begun).toEqual({ state: { talking: true }, microphone: true, consumed: true });
    const held = talkStep(begun.state, { ...down, repeat: true }, "on");
    expect(held).toEqual({ state: { talking: true }, microphone: null, consumed: true });
    expect(talkStep(held.state, { kind: "up", code: TALK_KEY }, "on")).toEqual({
      state: SILENT,
      microphone: false,
      consumed: true,
    });
  });

  it("mutes again when the window loses the focus", () => {
    expect(talkStep({ talking: true }, { kind: "blur" }, "on").microphone).toBe(false);
    expect(talkStep(SILENT, { kind: "blur" }, "on").microphone).toBeNull();
  });

  it("leaves a microphone alone that is on or not there", () => {
    expect(talkStep(SILENT, down, "on")).toEqual({ state: SILENT, microphone: null, consumed: false });
    expect(talkStep(SILENT, down, "off").microphone).toBeNull();
    expect(talkStep(SILENT, { kind: "up", code: TALK_KEY }, "on").microphone).toBeNull();
  });

  it("ignores other keys, shortcuts, repeats and keys that a field needs", () => {
    for (const change of [{ code: "KeyM" }, { modified: true }, { repeat: true }, { taken: true }]) {
      expect(talkStep(SILENT, { ...down, ...change }, "muted")).toEqual({
        state: SILENT,
        microphone: null,
        consumed: false,
      });
    }
  });

  it("leaves the key to text fields, not to the page", () => {
    const input = document.createElement("input");
    document.body.append(input);
    expect(usesTalkKey(input)).toBe(true);
    expect(usesTalkKey(document.body)).toBe(false);
    expect(usesTalkKey(null)).toBe(false);
  });
});
