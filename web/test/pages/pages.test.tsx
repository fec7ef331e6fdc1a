import "../browser";
import { act, render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import type { Check, CallSummary, Diagnosis, FailureCode, LocalMedia } from "../../src/call/model";
import { titleOf } from "../../src/components/DiagnosisView";
import { App } from "../../src/pages/App";
import { CallStages } from "../../src/pages/CallStages";
import { CheckPage } from "../../src/pages/CheckPage";
import { EndPage, verdictOf } from "../../src/pages/EndPage";
import { FailurePage } from "../../src/pages/FailurePage";
import { PreJoin } from "../../src/pages/PreJoin";
import { en } from "../../src/messages/en";
import { createTranslator } from "../../src/messages/catalogue";
import { settingsStore } from "../../src/store/settings";
import { Visit, type VisitNeeds } from "../../src/store/visit";
import { devices, type FakeTrack } from "../browser";
import { CallDouble } from "../call_double";
import { callState } from "../call_state";

const noop = (): void => undefined;

function showPreJoin(change: Partial<Parameters<typeof PreJoin>[0]> = {}) {
  const joined: { name: string; media: LocalMedia }[] = [];
  const shown = render(
    <PreJoin
      suggestedName={null}
      ongoing={null}
      joining={false}
      refusal={null}
      onJoin={(name, takeMedia) => void takeMedia().then((media) => joined.push({ name, media }))}
      {...change}
    />,
  );
  return { joined, ...shown };
}

describe("the page before the call", () => {
  it("joins with the name and the tracks of the preview, which go on", async () => {
    const { joined, unmount } = showPreJoin();
    await waitFor(() => expect(document.querySelector("video")).not.toBeNull());
    await userEvent.type(screen.getByRole("textbox", { name: "Your name" }), "  Ada ");
    await userEvent.click(screen.getByRole("button", { name: "Join now" }));
    await waitFor(() => expect(joined[0]?.name).toBe("Ada"));
    expect(joined[0]?.media.audio).toBe(devices.opened.find((track) => track.kind === "audio"));
    expect(joined[0]?.media.video).toBe(devices.opened.find((track) => track.kind === "video"));
    expect(settingsStore.get().name).toBe("Ada");
    unmount();
    expect(devices.opened.map((track) => track.stopped)).toEqual([false, false]);
  });

  it("joins with devices that were still opening when the button was pressed", async () => {
    let allow: () => void = noop;
    devices.answered = new Promise((resolve) => (allow = resolve));
    const { joined } = showPreJoin({ suggestedName: "Ada" });
    await userEvent.click(screen.getByRole("button", { name: "Join now" }));
    expect(joined).toEqual([]);
    allow();
    await waitFor(() => expect(joined).toHaveLength(1));
    expect([joined[0]?.media.audio, joined[0]?.media.video].map((track) => track != null)).toEqual([true, true]);
  });

  it("joins without devices that are turned off while the browser still asks", async () => {
    devices.answered = new Promise(noop);
    const { joined } = showPreJoin({ suggestedName: "Ada" });
    await userEvent.click(screen.getByRole("button", { name: "Join now" }));
    await userEvent.click(screen.getByRole("button", { name: "Turn the camera off" }));
    await userEvent.click(screen.getByRole("button", { name: "Mute" }));
    await waitFor(() => expect(joined).toEqual([{ name: "Ada", media: { audio: null, video: null } }]));
  });

  it("asks for both devices at once, so that the browser asks once", async () => {
    showPreJoin();
    await waitFor(() => expect(document.querySelector("video")).not.toBeNull());
    expect(devices.asked).toHaveLength(1);
    expect(Object.keys(devices.asked[0]!).sort()).toEqual(["audio", "video"]);
  });

  it("closes the devices when it is left without joining", async () => {
    const { unmount } = showPreJoin();
    await waitFor(() => expect(document.querySelector("video")).not.toBeNull());
    unmount();
    expect(devices.opened.map((track) => track.stopped)).toEqual([true, true]);
  });

  it("asks for a name, and puts the cursor there", async () => {
    const { joined } = showPreJoin();
    await userEvent.click(screen.getByRole("button", { name: "Join now" }));
    expect(screen.getByRole("alert").textContent).toContain("Enter a name");
    expect(document.activeElement).toBe(screen.getByRole("textbox"));
    expect(joined).toEqual([]);
    await userEvent.type(screen.getByRole("textbox"), "A");
    expect(screen.queryByRole("alert")).toBeNull();
  });

  it("knows the name of the link, unless one was chosen before", () => {
    const { unmount } = showPreJoin({ suggestedName: "Guest" });
    expect(screen.getByRole("textbox")).toHaveProperty("value", "Guest");
    unmount();
    settingsStore.change({ name: "Ada" });
    showPreJoin({ suggestedName: "Guest" });
    expect(screen.getByRole("textbox")).toHaveProperty("value", "Ada");
  });

  it("releases the camera when it is turned off, and opens it again", async () => {
    showPreJoin();
    await waitFor(() => expect(document.querySelector("video")).not.toBeNull());
    await userEvent.click(screen.getByRole("button", { name: "Turn the camera off" }));
    expect(screen.getByText("Your camera is off")).toBeTruthy();
    expect(devices.opened.find((track) => track.kind === "video")?.stopped).toBe(true);
    expect(settingsStore.get().cameraOn).toBe(false);
    await userEvent.click(screen.getByRole("button", { name: "Turn the camera on" }));
    await waitFor(() => expect(document.querySelector("video")).not.toBeNull());
  });

  it("remembers the chosen devices and opens them", async () => {
    showPreJoin();
    await waitFor(() => expect(screen.getByRole("option", { name: "Headset" })).toBeTruthy());
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "Microphone" }), "mic-2");
    await waitFor(() => expect(JSON.stringify(devices.asked.at(-1))).toContain("mic-2"));
    expect(settingsStore.get().microphoneId).toBe("mic-2");
  });

  it("takes another device when the remembered one is gone", async () => {
    settingsStore.change({ cameraId: "cam-of-yesterday" });
    showPreJoin();
    await waitFor(() => expect(document.querySelector("video")).not.toBeNull());
    expect(screen.queryByRole("alert")).toBeNull();
  });

  it.each([
    ["NotAllowedError", "permission-denied", /does not allow the use of your camera.*address bar/],
    ["NotReadableError", "device-in-use", /Another program uses your camera.*Close other programs/],
    ["NotFoundError", "no-device", /No camera was found.*Plug one in/],
    ["SecurityError", "insecure-origin", /secure pages only.*https/],
    ["OddError", "unknown", /could not be started.*restart the browser/],
  ])("after %s says what helps, and one joins with what there is", async (error, code, text) => {
    devices.refusal = { video: error };
    const { joined } = showPreJoin({ suggestedName: "Ada" });
    const alert = await screen.findByRole("alert");
    expect(alert.dataset["problem"]).toBe(code);
    expect(alert.textContent).toMatch(text);
    await userEvent.click(screen.getByRole("button", { name: "Join now" }));
    await waitFor(() => expect([joined[0]?.media.video, joined[0]?.media.audio !== null]).toEqual([null, true]));
  });

  it("without any device one can still join, and a device can be tried again", async () => {
    devices.refusal = { video: "NotFoundError", audio: "NotFoundError" };
    const { joined } = showPreJoin({ suggestedName: "Ada" });
    await waitFor(() => expect(screen.getAllByRole("alert")).toHaveLength(2));
    devices.refusal = { audio: "NotFoundError" };
    await userEvent.click(screen.getAllByRole("button", { name: "Try again" })[0]!);
    await waitFor(() => expect(screen.getAllByRole("alert")).toHaveLength(1));
    devices.refusal = { video: "NotFoundError", audio: "NotFoundError" };
    await userEvent.click(screen.getByRole("button", { name: "Try again" }));
    await userEvent.click(await screen.findByRole("button", { name: "Join without camera and microphone" }));
    await waitFor(() => expect(joined[0]?.media).toEqual({ audio: null, video: null }));
  });

  it("tells of a call that goes on", () => {
    showPreJoin({ ongoing: { people: 3, startedAt: Date.now() - 312_000 } });
    expect(screen.getByText(/3 people are in it, for 5 min 12 sec/)).toBeTruthy();
  });

  it("moves the bar of the level", async () => {
    showPreJoin();
    await waitFor(() => expect(screen.getByRole("meter")).toHaveProperty("value"));
    await waitFor(() => expect(screen.getByRole<HTMLMeterElement>("meter").value).toBeGreaterThan(0.05));
  });

  it("changes language and appearance", async () => {
    const needs = { exchange: { fetch, session: null, now: () => 0 } } as unknown as VisitNeeds;
    render(<App visit={new Visit({ identity: { kind: "invite", invite: "x" }, link: null }, needs)} />);
    expect(document.documentElement.dataset["theme"]).toBe("dark");
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "Appearance" }), "light");
    expect(document.documentElement.dataset["theme"]).toBe("light");
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "Language" }), "fr");
    expect(await screen.findByRole("button", { name: "Participer" })).toBeTruthy();
    await waitFor(() => expect(document.documentElement.lang).toBe("fr"));
  });
});

describe("the whole page", () => {
  function app(identity: "none" | "invite", change: Partial<VisitNeeds> = {}) {
    const client = new CallDouble(callState(2));
    const needs: VisitNeeds = {
      exchange: {
        fetch: () =>
          Promise.resolve(
            new Response(JSON.stringify({ data: { token: "t", conversationId: "room" } }), { status: 201 }),
          ),
        session: null,
        now: () => 0,
      },
      enter: () => Promise.resolve(client),
      openMedia: () => Promise.resolve({ audio: null, video: null }),
      ...change,
    };
    const opened = identity === "none" ? { kind: "none" as const } : { kind: "invite" as const, invite: "inv" };
    render(<App visit={new Visit({ identity: opened, link: "https://call.example/#invite=inv" }, needs)} />);
    return client;
  }

  it("without a link says what is missing", () => {
    app("none");
    expect(screen.getByRole("heading").textContent).toBe("This page needs an invitation link");
    expect(document.activeElement).toBe(screen.getByRole("heading"));
  });

  it("goes from the name into the call, out of it, and back", async () => {
    const client = app("invite");
    await userEvent.type(screen.getByRole("textbox"), "Ada{Enter}");
    expect(await screen.findByRole("region", { name: "People in the call" })).toBeTruthy();
    act(() => client.set({ stage: "ended", summary: SUMMARY }));
    await userEvent.click(screen.getByRole("button", { name: "Join again" }));
    expect(screen.getByRole("heading").textContent).toBe("Ready to join?");
  });

  it("says that an invitation is not valid any more", async () => {
    const fetch = (): Promise<Response> => Promise.resolve(new Response("{}", { status: 401 }));
    app("invite", { exchange: { fetch, session: null, now: () => 0 } });
    await userEvent.type(screen.getByRole("textbox"), "Ada{Enter}");
    expect((await screen.findByRole("alert")).textContent).toContain("not valid any more");
  });
});

const SUMMARY: CallSummary = {
  durationS: 754,
  reason: "left",
  switches: 2,
  lossRatio: 0.0034,
  rttMs: 24,
  longestFreezeMs: 180,
};

describe("the end of a call", () => {
  it("has its duration and what there is of quality", () => {
    render(<EndPage summary={SUMMARY} onAgain={noop} />);
    const text = document.body.textContent;
    for (const part of ["You have left the call", "12 min 34 sec", "0.3%", "24 ms", "180 ms", "good throughout"]) {
      expect(text).toContain(part);
    }
  });

  it("leaves out what is not known", () => {
    const unknown = { ...SUMMARY, reason: "ended", lossRatio: null, rttMs: null, longestFreezeMs: null, switches: 0 };
    render(<EndPage summary={unknown} onAgain={noop} />);
    expect(document.querySelectorAll("dt")).toHaveLength(1);
    expect(document.body.textContent).toContain("The call has ended");
    expect(document.body.textContent).toContain("Too short");
  });

  it("judges by the worst figure", () => {
    expect(verdictOf(SUMMARY)).toBe("good");
    expect(verdictOf({ ...SUMMARY, longestFreezeMs: 1500 })).toBe("fair");
    expect(verdictOf({ ...SUMMARY, rttMs: 250 })).toBe("fair");
    expect(verdictOf({ ...SUMMARY, lossRatio: 0.08 })).toBe("poor");
  });
});

const DIAGNOSIS: Diagnosis = {
  checks: [
    { id: "gateway", state: "passed", detail: "18 ms", remedy: null },
    { id: "udp-1", state: "failed", detail: "no answer", remedy: "Open UDP port 10001." },
    { id: "odd", state: "skipped", detail: "not tried", remedy: "not to be shown" },
  ],
  pairs: [
    {
      local: { address: "fd00::2", port: 4000, protocol: "udp", type: "host" },
      remote: { address: null, port: null, protocol: "udp", type: "host" },
      state: "failed",
      nominated: false,
      rttMs: null,
    },
  ],
};

describe("a failure", () => {
  const CODES = Object.keys(en)
    .filter((key) => key.startsWith("failure.") && `${key}.remedy` in en)
    .map((key) => key.slice("failure.".length) as FailureCode);

  it("of each kind has a text and a remedy", () => {
    expect(CODES).toHaveLength(17);
    for (const code of CODES) {
      const { unmount } = render(
        <FailurePage failure={{ code, message: "m", diagnosis: null }} retrying={false} onRetry={noop} onBack={noop} />,
      );
      expect(document.body.textContent).toContain(en[`failure.${code}`]);
      expect(document.body.textContent).toContain(en[`failure.${code}.remedy`]);
      unmount();
    }
  });

  it("shows the checks with their remedies, and the paths that were tried", async () => {
    const user = userEvent.setup();
    const failure = { code: "udp-blocked" as const, message: "ice failed", diagnosis: DIAGNOSIS };
    render(<FailurePage failure={failure} retrying={false} onRetry={noop} onBack={noop} />);
    expect(screen.getByText("UDP (1)")).toBeTruthy();
    expect(screen.getByText("Open UDP port 10001.")).toBeTruthy();
    expect(screen.queryByText("not to be shown")).toBeNull();
    expect(screen.getByText("[fd00::2]:4000 udp host")).toBeTruthy();
    await user.click(screen.getByRole("button", { name: "Copy the diagnosis" }));
    expect(JSON.parse(await navigator.clipboard.readText())).toEqual(DIAGNOSIS);
  });

  it("is tried again once at a time", async () => {
    const onRetry = vi.fn();
    const { rerender } = render(<FailurePage failure={null} retrying={false} onRetry={onRetry} onBack={noop} />);
    await userEvent.click(screen.getByRole("button", { name: "Try again" }));
    rerender(<FailurePage failure={null} retrying onRetry={onRetry} onBack={noop} />);
    await userEvent.click(screen.getByRole("button", { name: "Trying again…" }));
    expect(onRetry).toHaveBeenCalledTimes(1);
  });

  it("names a check it does not know by its id", () => {
    const { t } = createTranslator("en", en);
    expect([titleOf("odd", t), titleOf("udp", t), titleOf("tcp-2", t)]).toEqual(["odd", "UDP", "TCP (2)"]);
  });
});

describe("the stages of a call", () => {
  function stages(change: Parameters<CallDouble["set"]>[0]) {
    const client = new CallDouble(callState(2, change));
    const onTakeBack = vi.fn();
    render(<CallStages client={client} link={null} onBack={noop} onTakeBack={onTakeBack} />);
    return { client, onTakeBack };
  }

  it("begin with joining", () => {
    const { client } = stages({ stage: "joining" });
    expect(screen.getByRole("heading").textContent).toBe("Joining…");
    act(() => client.set({ stage: "in-call" }));
    expect(screen.getByRole("region", { name: "People in the call" })).toBeTruthy();
  });

  it("end in the other tab, with a way back", async () => {
    const { onTakeBack } = stages({ replaced: true, stage: "ended" });
    expect(screen.getByRole("heading").textContent).toBe("The call has moved to another tab");
    await userEvent.click(screen.getByRole("button", { name: "Take the call back here" }));
    expect(onTakeBack).toHaveBeenCalled();
  });

  it("fail, and try again", async () => {
    const { client } = stages({ stage: "failed", failure: { code: "call-full", message: "", diagnosis: null } });
    await userEvent.click(screen.getByRole("button", { name: "Try again" }));
    expect(client.asked).toContain("retry");
  });
});

describe("the check", () => {
  it("shows its progress, then the result", async () => {
    let report: (checks: readonly Check[]) => void = noop;
    let finish: (diagnosis: Diagnosis) => void = noop;
    const run = (onProgress: typeof report): Promise<Diagnosis> => {
      report = onProgress;
      return new Promise((resolve) => (finish = resolve));
    };
    render(<CheckPage run={run} />);
    await userEvent.click(screen.getByRole("button", { name: "Start the check" }));
    act(() => report(DIAGNOSIS.checks.slice(0, 1)));
    expect(screen.getByText("Gateway")).toBeTruthy();
    expect(screen.getByRole("button", { name: "Checking…" }).getAttribute("aria-disabled")).toBe("true");
    await act(async () => {
      finish(DIAGNOSIS);
      await Promise.resolve();
    });
    expect(screen.getByText("1 check has failed. What you can do stands beside it.")).toBeTruthy();
    expect(screen.getByRole("button", { name: "Check again" })).toBeTruthy();
  });

  it("says when all is well, and when it could not run", async () => {
    const passed = { checks: DIAGNOSIS.checks.slice(0, 1), pairs: [] };
    const { unmount } = render(<CheckPage run={() => Promise.resolve(passed)} />);
    await userEvent.click(screen.getByRole("button"));
    expect(await screen.findByText("All is well. Calls will work here.")).toBeTruthy();
    unmount();
    render(<CheckPage run={() => Promise.reject(new Error("no network"))} />);
    await userEvent.click(screen.getByRole("button"));
    expect(await screen.findByText(/no network/)).toBeTruthy();
  });
});

it("a preview whose opening is overtaken stops its track", async () => {
  const { unmount } = showPreJoin();
  unmount();
  await waitFor(() => expect(devices.opened.every((track: FakeTrack) => track.stopped)).toBe(true));
});
