/** The devices there are, renewed when one is plugged in or out. */

import { useEffect, useState } from "react";
import { listDevices, type DeviceChoice } from "../media/devices";

export interface Devices {
  readonly microphones: readonly DeviceChoice[];
  readonly cameras: readonly DeviceChoice[];
}

const NONE: Devices = { microphones: [], cameras: [] };

/** `opened` changes when devices have been opened: only then does the browser tell their names. */
export function useDevices(opened: unknown): Devices {
  const [devices, setDevices] = useState<Devices>(NONE);
  useEffect(() => {
    let current = true;
    const read = (): void => {
      listDevices().then(
        (found) => current && setDevices(found),
        () => current && setDevices(NONE),
      );
    };
    read();
    const source = (navigator as Partial<Navigator>).mediaDevices;
    source?.addEventListener("devicechange", read);
    return () => {
      current = false;
      source?.removeEventListener("devicechange", read);
    };
  }, [opened]);
  return devices;
}
