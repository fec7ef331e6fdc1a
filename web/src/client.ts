/** The library's entry: a call of the gateway for any page. Knows nothing of React. */
export { CallClient, type CallClientOptions, type CallEvents } from "./call/call_client";
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
