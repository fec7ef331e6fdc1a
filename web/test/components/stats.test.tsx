import "../browser";
import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import type { CallStats, TrackStats } from "../../src/call/model";
import { StatsPanel } from "../../src/components/StatsPanel";
import { hueOf, initialsOf } from "../../src/components/initials";
import { placeTiles } from "../../src/components/placement";
import { bitrate, milliseconds, percent, resolution, sparkline } from "../../src/components/stats_format";
import { HISTORY_LENGTH, remember, seriesOf, trackKey } from "../../src/hooks/use_stats";
import { createTranslator } from "../../src/messages/catalogue";
import { en } from "../../src/messages/en";
import { createSettingsStore, isDark, readSettings } from "../../src/store/settings";
import { CallDouble } from "../call_double";
import { callState } from "../call_state";

const english = createTranslator("en", en);

const CAMERA: TrackStats = {
  participantId: "p1",
  source: "camera",
  direction: "in",
  mode: "sfu",
  bitrateBps: 1_250_000,
  framesPerSecond: 29.7,
  width: 1280,
  height: 720,
  lossRatio: 0.012,
  rttMs: 23.6,
  jitterMs: 3.25,
  codec: "video/VP8",
  relay: true,
};
const SOUND: TrackStats = {
  ...CAMERA,
  participantId: "gone",
  source: "microphone",
  bitrateBps: 31_000,
  codec: null,
  relay: null,
  mode: "p2p",
};

function sample(at: number, tracks: readonly TrackStats[] = [CAMERA]): CallStats {
  return { at, mode: "sfu", tracks };
}

describe("the panel of figures", () => {
  it("has a track each, with its figures and the line of the last minute", async () => {
    const client = new CallDouble(callState(2));
    client.statsNow = () => sample(1, [CAMERA, SOUND]);
    render(<StatsPanel client={client} state={client.state} onClose={() => undefined} />);
    expect(await screen.findByRole("img", { name: "Bitrate of the last minute, now 1.3 Mbit/s" })).toBeTruthy();
    const text = document.body.textContent;
    for (const figure of ["Bob", "1280×720", "30", "1.2%", "24 ms", "3.3 ms", "VP8", "Group, relayed", "gone"]) {
      expect(text).toContain(figure);
    }
  });

  it("is copied as JSON, with the last minute", async () => {
    const user = userEvent.setup();
    const client = new CallDouble(callState(2));
    client.statsNow = () => sample(7);
    render(<StatsPanel client={client} state={client.state} onClose={() => undefined} />);
    await screen.findByText("VP8");
    await user.click(screen.getByRole("button", { name: "Copy as JSON" }));
    const copied: unknown = JSON.parse(await navigator.clipboard.readText());
    expect(copied).toEqual({ callId: "call-1", mode: "p2p", history: [sample(7)] });
  });

  it("can be copied by hand when the browser refuses", async () => {
    const user = userEvent.setup();
    vi.spyOn(navigator.clipboard, "writeText").mockRejectedValue(new Error("refused"));
    const client = new CallDouble(callState(2));
    render(<StatsPanel client={client} state={client.state} onClose={() => undefined} />);
    expect(screen.getByText("No track is sent or received yet.")).toBeTruthy();
    await user.click(screen.getByRole("button", { name: "Copy as JSON" }));
    expect(await screen.findByRole("textbox", { name: "Copy as JSON" })).toBeTruthy();
  });
});

describe("the history of figures", () => {
  it("keeps a minute", () => {
    let history: readonly CallStats[] = [];
    for (let at = 0; at < 90; at += 1) history = remember(history, sample(at));
    expect([history.length, history[0]?.at]).toEqual([HISTORY_LENGTH, 30]);
  });

  it("has a gap where a track was not there", () => {
    const history = [sample(0), sample(1, []), sample(2)];
    expect(seriesOf(history, trackKey(CAMERA), (track) => track.bitrateBps)).toEqual([1_250_000, null, 1_250_000]);
  });
});

describe("figures", () => {
  it("are written with their units, and a dash where there is none", () => {
    expect(bitrate(31_400, english)).toBe("31 kbit/s");
    expect(bitrate(2_000_000, english)).toBe("2.0 Mbit/s");
    expect(percent(0.0005, english)).toBe("0.1%");
    expect(milliseconds(123.4, english)).toBe("123 ms");
    expect([bitrate(null, english), percent(null, english), milliseconds(null, english)]).toEqual(["–", "–", "–"]);
    expect(resolution({ width: null, height: null })).toBe("–");
  });

  it("make a line whose newest point is at the end, in pieces where some are missing", () => {
    const box = { width: 100, height: 10 };
    expect(sparkline([5, 10], 3, box)).toEqual(["50.0,5.0 100.0,0.0"]);
    expect(sparkline([10, null, 5], 3, box)).toEqual(["0.0,0.0", "100.0,5.0"]);
    expect(sparkline([null, null], 3, box)).toEqual([]);
  });
});

describe("initials", () => {
  it("are first letters of the first and last word, whatever the script", () => {
    expect(["Ada Lovelace", " ada ", "", "Jean de la Fontaine", "李 明", "👩‍🚀 Eva"].map(initialsOf)).toEqual([
      "AL",
      "A",
      "?",
      "JF",
      "李明",
      "👩‍🚀E",
    ]);
  });

  it("have a colour that stays", () => {
    expect(hueOf("p1")).toBe(hueOf("p1"));
    expect(new Set(Array.from({ length: 60 }, (_, at) => hueOf(`p${at}`))).size).toBe(8);
  });
});

describe("the places of tiles", () => {
  it("never overlap and never leave the space, with and without a stage", () => {
    for (const space of [
      { width: 1280, height: 640 },
      { width: 390, height: 700 },
      { width: 844, height: 260 },
    ]) {
      for (const hasStage of [true, false]) {
        for (let count = 0; count <= (hasStage ? 6 : 16); count += 1) {
          const { stage, tiles } = placeTiles(hasStage, count, space, 8);
          const all = stage === null ? tiles : [stage, ...tiles];
          for (const one of all) {
            expect(one.x).toBeGreaterThanOrEqual(0);
            expect(one.y).toBeGreaterThanOrEqual(-1);
            expect(one.x + one.width).toBeLessThanOrEqual(space.width + 1);
            expect(one.y + one.height).toBeLessThanOrEqual(space.height + 1);
          }
          all.forEach((one, at) => {
            for (const other of all.slice(at + 1)) {
              const apart =
                one.x + one.width <= other.x + 0.5 ||
                other.x + other.width <= one.x + 0.5 ||
                one.y + one.height <= other.y + 0.5 ||
                other.y + other.height <= one.y + 0.5;
              expect(apart).toBe(true);
            }
          });
        }
      }
    }
  });
});

describe("settings", () => {
  it("are kept, and come back", () => {
    const kept = new Map<string, string>();
    const storage = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
    };
    createSettingsStore(storage, ["en"]).change({ name: "Ada", theme: "dark", cameraId: "cam", layout: "speaker" });
    expect(createSettingsStore(storage, ["en"]).get()).toMatchObject({
      name: "Ada",
      theme: "dark",
      cameraId: "cam",
      layout: "speaker",
      microphoneOn: true,
    });
  });

  it("that are damaged take the defaults", () => {
    const defaults = readSettings(null, ["fr-FR"]);
    expect(defaults).toMatchObject({ language: "fr", theme: "system", layout: "grid", name: "", microphoneId: null });
    for (const damaged of ["{", "null", "5", '{"theme":"pink","layout":7,"name":{},"language":"xx","cameraId":3}']) {
      expect(readSettings(damaged, ["fr-FR"])).toEqual(defaults);
    }
    expect(readSettings(JSON.stringify({ name: "x".repeat(500) }), []).name).toHaveLength(60);
  });

  it("work where storage is refused", () => {
    const refusing = {
      getItem: (): string | null => {
        throw new Error("refused");
      },
      setItem: (): void => {
        throw new Error("refused");
      },
    };
    const store = createSettingsStore(refusing, ["en"]);
    let told = 0;
    const forget = store.subscribe(() => (told += 1));
    store.change({ name: "Ada" });
    forget();
    store.change({ name: "Bob" });
    expect([store.get().name, told]).toEqual(["Bob", 1]);
  });

  it("choose the appearance of the system unless another was chosen", () => {
    expect([isDark("system", true), isDark("system", false), isDark("dark", false), isDark("light", true)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });
});
