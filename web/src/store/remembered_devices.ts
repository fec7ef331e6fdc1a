/** Open the devices that were chosen at an earlier visit, or others if those are gone. */

import { openDevices, type DeviceWish, type OpenedDevices } from "../media/devices";

export interface Remembered {
  readonly microphoneId: string | null;
  readonly cameraId: string | null;
}

export async function openRemembered(
  wish: Pick<DeviceWish, "audio" | "video">,
  { microphoneId, cameraId }: Remembered,
): Promise<OpenedDevices> {
  const chosen = {
    ...(microphoneId === null ? {} : { audioId: microphoneId }),
    ...(cameraId === null ? {} : { videoId: cameraId }),
  };
  const found = await openDevices({ ...wish, ...chosen });
  const missing = (kind: "audio" | "video", id: string | null): boolean =>
    id !== null && found.problems.some((problem) => problem.kind === kind && problem.code === "no-device");
  const again = { audio: missing("audio", microphoneId), video: missing("video", cameraId) };
  if (!again.audio && !again.video) return found;
  const others = await openDevices(again);
  return {
    audio: found.audio ?? others.audio,
    video: found.video ?? others.video,
    problems: [...found.problems.filter((problem) => !again[problem.kind]), ...others.problems],
  };
}
