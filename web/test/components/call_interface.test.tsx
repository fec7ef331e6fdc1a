import "../browser";
import { act, fireEvent, render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import { CallInterface } from "../../src/components/CallInterface";
import { settingsStore } from "../../src/store/settings";
import { CallDouble } from "../call_double";
import { LOCAL, callState, participants } from "../call_state";
import { devices } from "../browser";

const LINK = "https://call.example/#invite=abc";

function show(client = new CallDouble(callState(3)), link: string | null = LINK): CallDouble {
  render(<CallInterface client={client} link={link} />);
  return client;
}

function button(name: RegExp | string): HTMLElement {
  return screen.getByRole("button", { name });
}

const SWITCH = { to: "sfu", since: 0, attempt: 1, failed: null } as const;

describe("the controls", () => {
  it("mute, stop the camera, share the screen and leave", async () => {
    Object.assign(devices, { getDisplayMedia: () => undefined });
    const client = show();
    await userEvent.click(button("Mute"));
    await userEvent.click(button("Turn the camera off"));
    await userEvent.click(button("Share your screen"));
    await userEvent.click(button("Leave the call"));
    expect(client.asked).toEqual(["microphone false", "camera false", "screen true", "leave"]);
  });

  it("are reached by the keyboard, in the order of the bar", async () => {
    show();
    const reached: (string | undefined)[] = [];
    for (let step = 0; step < 7; step += 1) {
      await userEvent.tab();
      reached.push((document.activeElement as HTMLElement | null)?.dataset["control"]);
    }
    expect(reached).toEqual(["microphone", "camera", "layout", "stats", "devices", "copy-link", "leave"]);
  });

  it("show what they will do next", () => {
    const client = show();
    act(() => client.set({ local: { ...LOCAL, microphone: "muted", camera: "off" } }));
    expect(button("Unmute")).toBeTruthy();
    expect(button("Turn the camera on")).toBeTruthy();
    act(() => client.set({ local: { ...LOCAL, microphone: "off" } }));
    expect(button("Turn the microphone on")).toBeTruthy();
  });

  it("switch between grid and speaker view, and the choice is remembered", async () => {
    show();
    await userEvent.click(button("Show the speaker"));
    expect(settingsStore.get().layout).toBe("speaker");
    expect(document.querySelector("[data-layout=stage]")).not.toBeNull();
    await userEvent.click(button("Show the grid"));
    expect(settingsStore.get().layout).toBe("grid");
  });

  it("say why an action did not work, until that is dismissed", async () => {
    const client = show();
    client.answer = () => Promise.reject(new Error("the camera is gone"));
    await userEvent.click(button("Turn the camera off"));
    expect((await screen.findByRole("alert")).textContent).toContain("the camera is gone");
    await userEvent.click(button("Close"));
    expect(screen.queryByRole("alert")).toBeNull();
  });

  it("run one action at a time", async () => {
    const client = show();
    let done: () => void = () => undefined;
    client.answer = () => new Promise((resolve) => (done = resolve));
    await userEvent.click(button("Turn the camera off"));
    await userEvent.click(button("Turn the camera off"));
    expect(client.asked).toEqual(["camera false"]);
    await act(async () => {
      done();
      await Promise.resolve();
    });
    await userEvent.click(button("Turn the camera off"));
    expect(client.asked).toHaveLength(2);
  });
});

describe("copying the link", () => {
  it("puts the whole link into the clipboard and says so", async () => {
    const user = userEvent.setup();
    show();
    await user.click(button("Copy the link"));
    expect(await navigator.clipboard.readText()).toBe(LINK);
    expect(button("Link copied")).toBeTruthy();
  });

  it("shows the link when the browser refuses", async () => {
    const user = userEvent.setup();
    vi.spyOn(navigator.clipboard, "writeText").mockRejectedValue(new Error("refused"));
    show();
    await user.click(button("Copy the link"));
    expect(await screen.findByText(new RegExp(`could not be copied: ${LINK}`))).toBeTruthy();
  });

  it("is not offered without a link", () => {
    show(new CallDouble(callState(3)), null);
    expect(screen.queryByRole("button", { name: "Copy the link" })).toBeNull();
  });
});

describe("while the call switches", () => {
  it("starting and stopping tracks waits, muting and leaving do not", async () => {
    const client = show();
    act(() => client.set({ transition: SWITCH }));
    expect(button("Turn the camera off").getAttribute("aria-disabled")).toBe("true");
    await userEvent.click(button("Turn the camera off"));
    await userEvent.click(button("Mute"));
    await userEvent.click(button("Leave the call"));
    expect(client.asked).toEqual(["microphone false", "leave"]);
    act(() => client.set({ transition: null }));
    await userEvent.click(button("Turn the camera off"));
    expect(client.asked).toContain("camera false");
  });

  it("a notice appears after 300 ms and goes when it is over", () => {
    vi.useFakeTimers();
    const client = show();
    act(() => client.set({ transition: { ...SWITCH, since: Date.now() } }));
    act(() => void vi.advanceTimersByTime(250));
    expect(screen.queryByText(/Switching to group call mode/)).toBeNull();
    act(() => void vi.advanceTimersByTime(150));
    expect(screen.getByText("Switching to group call mode...")).toBeTruthy();
    act(() => client.set({ transition: null }));
    expect(screen.queryByText(/Switching to group call mode/)).toBeNull();
  });

  it("that is over sooner shows no notice", () => {
    vi.useFakeTimers();
    const client = show();
    act(() => client.set({ transition: { ...SWITCH, since: Date.now() } }));
    act(() => void vi.advanceTimersByTime(200));
    act(() => client.set({ transition: null }));
    act(() => void vi.advanceTimersByTime(2000));
    expect(document.querySelector("[data-notice=switching]")).toBeNull();
  });

  it("a failure offers to try again, and blocks nothing", async () => {
    const client = show();
    act(() => client.set({ transition: { ...SWITCH, failed: "timeout" } }));
    expect(screen.getByRole("alert").textContent).toContain("did not succeed");
    await userEvent.click(button("Try again"));
    await userEvent.click(button("Turn the camera off"));
    expect(client.asked).toEqual(["retry", "camera false"]);
  });

  it("a further attempt is counted", () => {
    const client = show();
    act(() => client.set({ transition: { ...SWITCH, to: "p2p", attempt: 2 } }));
    expect(screen.getByText(/Switching to direct call mode/).textContent).toContain("Attempt 2");
  });
});

describe("push to talk", () => {
  it("opens a muted microphone while the space bar is held", async () => {
    const client = show();
    act(() => client.set({ local: { ...LOCAL, microphone: "muted" } }));
    fireEvent.keyDown(document.body, { code: "Space" });
    await waitFor(() => expect(client.asked).toEqual(["microphone true"]));
    expect(button("Talking while you hold the key")).toBeTruthy();
    act(() => client.set({ local: LOCAL }));
    fireEvent.keyUp(document.body, { code: "Space" });
    await waitFor(() => expect(client.asked).toEqual(["microphone true", "microphone false"]));
  });

  it("ends muted when the key is released before the microphone was on", async () => {
    const client = show();
    act(() => client.set({ local: { ...LOCAL, microphone: "muted" } }));
    let done: () => void = () => undefined;
    client.answer = () => new Promise((resolve) => (done = resolve));
    fireEvent.keyDown(document.body, { code: "Space" });
    fireEvent.keyUp(document.body, { code: "Space" });
    expect(client.asked).toEqual(["microphone true"]);
    await act(async () => {
      done();
      await Promise.resolve();
    });
    expect(client.asked).toEqual(["microphone true", "microphone false"]);
  });

  it("can be switched off", () => {
    act(() => settingsStore.change({ talkKey: false }));
    const client = show();
    act(() => client.set({ local: { ...LOCAL, microphone: "muted" } }));
    fireEvent.keyDown(document.body, { code: "Space" });
    expect(client.asked).toEqual([]);
  });
});

describe("a screen reader", () => {
  it("hears who comes and goes, in one sentence for many", () => {
    const client = show();
    act(() => client.set({ participants: participants(4) }));
    expect(screen.getByText("Dmitri has joined")).toBeTruthy();
    act(() => client.set({ participants: participants(2) }));
    expect(screen.getByText("Chloé and Dmitri have left")).toBeTruthy();
    act(() => client.set({ participants: participants(30) }));
    expect(screen.getByText("28 people have joined")).toBeTruthy();
  });

  it("hears of lost connections and shared screens", () => {
    const client = show();
    act(() => client.set({ stage: "reconnecting" }));
    expect(screen.getByText("Connection lost, reconnecting")).toBeTruthy();
    expect(document.querySelector("[data-notice=reconnecting]")).not.toBeNull();
    act(() => client.set({ stage: "in-call" }));
    expect(screen.getByText("Connected again")).toBeTruthy();
    expect(document.querySelector("[data-notice=reconnecting]")).toBeNull();
    act(() => client.set({ participants: participants(3).map((one, at) => ({ ...one, screenEnabled: at === 2 })) }));
    expect(screen.getByText("Chloé shares a screen")).toBeTruthy();
  });
});

describe("the panel of devices", () => {
  it("changes a device in the call, and remembers it", async () => {
    const client = show();
    await userEvent.click(button("Devices and settings"));
    await waitFor(() => expect(screen.getByRole("option", { name: "Microphone 2" })).toBeTruthy());
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "Microphone" }), "mic-2");
    await userEvent.selectOptions(screen.getByRole("combobox", { name: "Camera" }), "cam-1");
    expect(client.asked).toEqual(["use microphone mic-2", "use camera cam-1"]);
    expect(settingsStore.get()).toMatchObject({ microphoneId: "mic-2", cameraId: "cam-1" });
    await userEvent.click(screen.getByRole("checkbox"));
    expect(settingsStore.get().talkKey).toBe(false);
  });

  it("closes by Escape, and the focus goes back to its button", async () => {
    show();
    await userEvent.click(button("Devices and settings"));
    expect(button("Devices and settings").getAttribute("aria-expanded")).toBe("true");
    await userEvent.keyboard("{Escape}");
    expect(screen.queryByRole("complementary")).toBeNull();
    expect(document.activeElement).toBe(button("Devices and settings"));
  });
});

it("one who is alone is told what to do", () => {
  const client = show(new CallDouble(callState(1)));
  expect(screen.getByText("You are the only one here")).toBeTruthy();
  act(() => client.set({ participants: participants(2) }));
  expect(screen.queryByText("You are the only one here")).toBeNull();
});

it("a device that fails in the call has its remedy", () => {
  const client = show();
  const error = { code: "device-in-use", kind: "video", message: "", remedy: "" } as const;
  act(() => client.set({ local: { ...LOCAL, error } }));
  expect(screen.getByRole("alert").textContent).toContain("Another program uses your camera.");
});
