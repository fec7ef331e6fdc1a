/** The library's entry: a call of the gateway for any page. Knows nothing of React. */
export { CallClient } from "./call/call_client";
export type { CallClientOptions, CallEvents } from "./call/call_events";
export { DeviceError } from "./call/local_media";
export { qualityOf, qualities } from "./call/call_stats";
export {
  listDevices,
  openDevices,
  type DeviceChoice,
  type DeviceList,
  type DeviceWish,
  type OpenedDevices,
} from "./media/devices";
export { LevelMeter } from "./media/level_meter";
export { RefusedError, UnreachableError } from "./wire/errors";
export type * from "./call/model";
export { diagnose, runChecks, type CheckConfig, type ProbeRoom } from "./diagnosis/diagnosis";
