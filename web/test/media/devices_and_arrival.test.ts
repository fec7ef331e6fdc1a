import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { DeviceError, LocalMedia } from "../../src/call/local_media";
import { arrived } from "../../src/media/arrival";
import { listDevices, openDevices, openScreen, problemOf } from "../../src/media/devices";
import { LevelMeter } from "../../src/media/level_meter";
import { kindOf, sourceOf } from "../../src/media/source";
import { FakeAudioContext, FakeStream, fakeTrack, installDevices, installMedia, type FakeTrack } from "./fake_media";

const denied = (name: string) => Promise.reject(new DOMException("no", name));
function devices(fails: { audio?: string; video?: string } = {}) {
  const asked: MediaStreamConstraints[] = [];
  installDevices({
    getUserMedia: (wish) => {
      asked.push(wish ?? {});
      const kinds = (["audio", "video"] as const).filter((kind) => wish?.[kind]);
      const broken = kinds.map((kind) => fails[kind]).find((name) => name !== undefined);
      if (broken) return denied(broken);
      const idOf = (kind: "audio" | "video") => {
        const id = (wish?.[kind] as MediaTrackConstraints).deviceId as { exact?: string } | undefined;
        return id?.exact ?? "default";
      };
      return Promise.resolve(
        new FakeStream(kinds.map((kind) => fakeTrack(kind, idOf(kind)))) as unknown as MediaStream,
      );
    },
    getDisplayMedia: () =>
      fails.video
        ? denied(fails.video)
        : Promise.resolve(new FakeStream([fakeTrack("video")]) as unknown as MediaStream),
    enumerateDevices: () =>
      Promise.resolve([
        { kind: "audioinput", deviceId: "m", label: "Mic" },
        { kind: "videoinput", deviceId: "c", label: "Cam" },
      ] as MediaDeviceInfo[]),
  });
  return asked;
}

beforeEach(() => {
  installMedia();
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  installDevices(undefined);
});

test("both devices are asked for in one question", async () => {
  const asked = devices();
  const opened = await openDevices({ audio: true, video: true, audioId: "m" });
  expect(asked).toHaveLength(1);
  expect(opened.audio?.getSettings().deviceId).toBe("m");
  expect(opened).toMatchObject({ problems: [] });
});

test("one device's problem leaves the other", async () => {
  devices({ video: "NotReadableError" });
  const opened = await openDevices({ audio: true, video: true });
  expect(opened.audio?.kind).toBe("audio");
  expect(opened.video).toBeNull();
  expect(opened.problems).toMatchObject([{ code: "device-in-use", kind: "video" }]);
});

test("a page that is not secure has no devices", async () => {
  installDevices(undefined);
  const { problems } = await openDevices({ audio: true, video: true });
  expect(problems.map(({ code }) => code)).toEqual(["insecure-origin", "insecure-origin"]);
  expect((await listDevices()).cameras).toEqual([]);
});

test.each([
  ["NotAllowedError", "permission-denied"],
  ["NotReadableError", "device-in-use"],
  ["OverconstrainedError", "no-device"],
  ["SecurityError", "insecure-origin"],
  ["Whatever", "unknown"],
])("%s is %s, with a remedy", (name, code) => {
  const problem = problemOf("audio", new DOMException("no", name));
  expect(problem.code).toBe(code);
  expect(problem.remedy).toMatch(/\w/);
});

test("devices are listed by kind", async () => {
  devices();
  expect(await listDevices()).toEqual({
    microphones: [{ id: "m", label: "Mic" }],
    cameras: [{ id: "c", label: "Cam" }],
    speakers: [],
  });
});

test("who declines to share a screen shares none, another error is one", async () => {
  devices({ video: "NotAllowedError" });
  expect(await openScreen()).toBeNull();
  devices({ video: "AbortError" });
  await expect(openScreen()).rejects.toThrow("no");
  devices();
  expect((await openScreen())?.contentHint).toBe("detail");
});

test("mute keeps the microphone, camera off releases it", async () => {
  devices();
  const local = new LocalMedia(() => undefined);
  const [audio, video] = [fakeTrack("audio"), fakeTrack("video")];
  local.take({ audio, video });
  expect(local.state).toMatchObject({ microphone: "on", camera: "on", screen: "off" });
  await local.setMicrophone(false);
  await local.setCamera(false);
  expect(local.state).toMatchObject({ microphone: "muted", camera: "off" });
  expect(local.tracks.microphone).toEqual({ track: audio, muted: true });
  expect([audio.enabled, audio.readyState, video.readyState]).toEqual([false, "live", "ended"]);
  await local.setMicrophone(true);
  await local.setCamera(true);
  expect(local.state).toMatchObject({ microphone: "on", camera: "on" });
});

test("another microphone stays muted, and the former one is stopped after the change", async () => {
  devices();
  const local = new LocalMedia(() => undefined);
  const audio = fakeTrack("audio");
  local.take({ audio, video: null });
  await local.setMicrophone(false);
  await local.useMicrophone("other");
  expect(local.state).toMatchObject({ microphone: "muted", microphoneId: "other" });
  expect(local.tracks.microphone.track?.enabled).toBe(false);
  expect(audio.readyState).toBe("live");
  vi.advanceTimersByTime(1500);
  expect(audio.readyState).toBe("ended");
});

test("a device that does not open says what helps", async () => {
  devices({ video: "NotFoundError" });
  const local = new LocalMedia(() => undefined);
  await expect(local.setCamera(true)).rejects.toThrow(DeviceError);
  await expect(local.useCamera("x")).rejects.toMatchObject({ problem: { code: "no-device" } });
});

test("a source that ends by itself is reported, one that was replaced is not", async () => {
  devices();
  const ended = vi.fn();
  const local = new LocalMedia(ended);
  await local.setScreen(true);
  (local.tracks.screen.track as unknown as FakeTrack).onended?.();
  expect(ended).toHaveBeenCalledWith("screen");
  const former = local.tracks.screen.track as unknown as FakeTrack;
  await local.setScreen(false);
  expect(former.onended).toBeNull();
  local.close();
});

test("a level meter reads what a microphone hears", () => {
  const context = new FakeAudioContext();
  context.level = 1;
  const meter = new LevelMeter(fakeTrack("audio"), context as unknown as AudioContext);
  expect(meter.read()).toBe(1);
  meter.close();
  meter.close();
  expect(context.state).toBe("closed");
});

test("sources have names on the wire and kinds", () => {
  expect([sourceOf("audio", {}), sourceOf("video", {}), sourceOf("video", { source: "screen" })]).toEqual([
    "microphone",
    "camera",
    "screen",
  ]);
  expect([kindOf("microphone"), kindOf("screen")]).toEqual(["audio", "video"]);
});

test("media has arrived with the first picture, and with sound that was played out", () => {
  const voice = { participantId: "bob", source: "microphone" as const, track: fakeTrack("audio") };
  const picture = { participantId: "bob", source: "camera" as const, track: fakeTrack("video") };
  const reports = (frames: number, samples: number) => [
    { type: "inbound-rtp", kind: "video", trackIdentifier: picture.track.id, framesDecoded: frames },
    { type: "inbound-rtp", kind: "audio", trackIdentifier: voice.track.id, jitterBufferEmittedCount: samples },
    { type: "codec" },
  ];
  expect(arrived([voice, picture], reports(0, 960))).toEqual([]);
  expect(arrived([voice, picture], reports(1, 960))).toEqual([picture]);
  expect(arrived([voice, picture], reports(1, 4800))).toEqual([voice, picture]);
  const packets = { type: "inbound-rtp", kind: "audio", trackIdentifier: voice.track.id, packetsReceived: 5 };
  expect(arrived([voice], [packets])).toEqual([voice]);
});
