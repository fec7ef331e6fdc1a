import { beforeEach, expect, test } from "vitest";
import { AudioOutput, levelOf, loudness } from "../../src/media/audio_output";
import { RemoteMedia } from "../../src/media/remote_media";
import { VideoSlot } from "../../src/media/remote_video";
import { FakeAudioContext, fakeTrack, installMedia } from "./fake_media";

let context: FakeAudioContext;
let audio: AudioOutput;
let media: RemoteMedia;
const [direct, server] = [{ name: "p2p" }, { name: "sfu" }];
const microphone = () => ({ participantId: "bob", source: "microphone" as const, track: fakeTrack("audio") });
const camera = () => ({ participantId: "bob", source: "camera" as const, track: fakeTrack("video") });
const settle = () => new Promise((done) => setTimeout(done));

beforeEach(() => {
  installMedia();
  context = new FakeAudioContext();
  audio = new AudioOutput(() => context as unknown as AudioContext);
  media = new RemoteMedia(audio, () => new VideoSlot(() => ({ ready: Promise.resolve(), close: () => undefined })));
});
/** The gains of the voices: the first gain of all is the participant's volume. */
const voices = () => context.gains.slice(1).map((node) => node.gain.value);

test("the first voice is heard at once, the second only when it has arrived", () => {
  const [one, two] = [microphone(), microphone()];
  media.add(direct, one);
  media.add(server, two);
  expect(voices()).toEqual([1, 0]);
  media.arrived(server, two);
  expect(voices()).toEqual([0, 1]);
});

test("voices are faded over within 20 ms, both together never louder than one", () => {
  const [one, two] = [microphone(), microphone()];
  media.add(direct, one);
  media.add(server, two);
  media.arrived(server, two);
  const ramps = context.gains.slice(1).map((node) => node.gain.ramps.at(-1));
  expect(ramps.map((ramp) => ramp![0])).toEqual([0, 1]);
  for (const [, at] of ramps as [number, number][]) expect(at - context.currentTime).toBeLessThanOrEqual(0.02);
});

test("an older path that arrives late does not take over again", () => {
  const [one, two] = [microphone(), microphone()];
  media.add(direct, one);
  media.add(server, two);
  media.arrived(server, two);
  media.arrived(direct, one);
  expect(voices()).toEqual([0, 1]);
});

test("when a new path is dropped the old voice and picture are back", async () => {
  const [voice, picture, newVoice, newPicture] = [microphone(), camera(), microphone(), camera()];
  media.add(direct, voice);
  media.add(direct, picture);
  media.add(server, newVoice);
  media.add(server, newPicture);
  media.arrived(server, newVoice);
  await settle();
  expect(media.video("bob", "camera").track).toBe(newPicture.track);
  media.closePath(server);
  await settle();
  expect(voices()[0]).toBe(1);
  expect(media.video("bob", "camera").track).toBe(picture.track);
});

test("a path that is closed before its successor arrived hands over at once", () => {
  const [one, two] = [microphone(), microphone()];
  media.add(direct, one);
  media.add(server, two);
  media.closePath(direct);
  expect(voices()[1]).toBe(1);
});

test("a picture stands still while there is no path", async () => {
  const picture = camera();
  media.add(server, picture);
  await settle();
  media.closePath(server);
  expect(media.video("bob", "camera")).toMatchObject({ track: picture.track, hasFrame: true });
});

test("a source that is switched off shows nothing", async () => {
  const picture = camera();
  media.add(server, picture);
  await settle();
  media.remove(server, picture);
  expect(media.video("bob", "camera")).toMatchObject({ track: null, hasFrame: false });
  media.remove(server, picture);
});

test("who has left is neither seen nor heard", async () => {
  media.add(server, microphone());
  media.add(server, camera());
  await settle();
  media.forget("bob");
  media.forget("bob");
  expect(media.video("bob", "camera").hasFrame).toBe(false);
  expect(audio.levels().size).toBe(0);
});

test("a volume holds for voices that come later", () => {
  audio.setVolume("bob", 0.5);
  media.add(direct, microphone());
  expect(context.gains[0]!.gain.value).toBe(0.5);
  audio.setVolume("bob", 7);
  expect(context.gains[0]!.gain.value).toBe(1);
});

test("sound is blocked until a gesture", async () => {
  expect(audio.blocked).toBe(false);
  media.add(direct, microphone());
  expect(audio.blocked).toBe(true);
  await audio.resume();
  expect(audio.blocked).toBe(false);
  expect(audio.context).toBe(context);
  media.close();
  expect(context.state).toBe("closed");
});

test("what a closing path showed is held until the next path has a picture", async () => {
  const held = fakeTrack("video");
  let ready: () => void = () => undefined;
  const prime = () => ({ ready: new Promise<void>((done) => (ready = done)), close: () => undefined });
  media = new RemoteMedia(audio, () => new VideoSlot(prime, () => held));
  const [old, fresh] = [camera(), camera()];
  media.add(direct, old);
  ready();
  await settle();
  media.add(server, fresh);
  media.arrived(server, fresh);
  media.closePath(direct);
  expect(media.video("bob", "camera").track).toBe(held);
  ready();
  await settle();
  expect(media.video("bob", "camera").track).toBe(fresh.track);
  expect(held.readyState).toBe("ended");
});

test("levels are those of ears", () => {
  expect(loudness(new Float32Array(8))).toBe(0);
  expect(loudness(new Float32Array(8).fill(1))).toBe(1);
  expect([levelOf(-60), levelOf(-30), levelOf(0), levelOf(-127)]).toEqual([0, 0.5, 1, 0]);
  media.add(direct, microphone());
  context.level = 0.1;
  expect(audio.levels().get("bob")).toBeCloseTo(40 / 60);
});
