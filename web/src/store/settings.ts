/**
 * What the page remembers between visits: name, devices, whether they start on, appearance, language, layout.
 *
 * Kept in localStorage; where that is refused (private windows, blocked storage) the page works and forgets.
 */

import { useSyncExternalStore } from "react";
import { LANGUAGES, chooseLanguage, type Language } from "../messages/catalogue";
import type { Layout } from "../components/visible";

export type Theme = "system" | "light" | "dark";

export interface Settings {
  readonly name: string;
  readonly microphoneId: string | null;
  readonly cameraId: string | null;
  readonly microphoneOn: boolean;
  readonly cameraOn: boolean;
  readonly theme: Theme;
  readonly language: Language;
  readonly layout: Layout;
  readonly talkKey: boolean;
}

const KEY = "meeshy.settings";
/** Longer names are cut by the field as well. */
export const NAME_LENGTH = 60;

/** Read stored settings; what is missing or not of its type takes the default. */
export function readSettings(stored: string | null, languages: readonly string[]): Settings {
  const found = parse(stored);
  const text = (key: string): string | null => (typeof found[key] === "string" ? found[key] : null);
  const flag = (key: string): boolean => found[key] !== false;
  const theme = text("theme");
  return {
    name: (text("name") ?? "").slice(0, NAME_LENGTH),
    microphoneId: text("microphoneId"),
    cameraId: text("cameraId"),
    microphoneOn: flag("microphoneOn"),
    cameraOn: flag("cameraOn"),
    theme: theme === "light" || theme === "dark" ? theme : "system",
    language: LANGUAGES.find((one) => one === found["language"]) ?? chooseLanguage(languages),
    layout: found["layout"] === "speaker" ? "speaker" : "grid",
    talkKey: flag("talkKey"),
  };
}

function parse(stored: string | null): Readonly<Record<string, unknown>> {
  if (stored === null) return {};
  try {
    const found: unknown = JSON.parse(stored);
    return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

export interface SettingsStore {
  readonly get: () => Settings;
  readonly change: (part: Partial<Settings>) => void;
  readonly subscribe: (listener: () => void) => () => void;
}

type Storage = Pick<globalThis.Storage, "getItem" | "setItem">;

export function createSettingsStore(storage: Storage | null, languages: readonly string[]): SettingsStore {
  let settings = readSettings(attempt(() => storage?.getItem(KEY) ?? null) ?? null, languages);
  const listeners = new Set<() => void>();
  return {
    get: () => settings,
    change(part) {
      settings = { ...settings, ...part };
      attempt(() => storage?.setItem(KEY, JSON.stringify(settings)));
      for (const listener of [...listeners]) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Storage throws where it is refused or full; nothing here depends on it. */
function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}

export const settingsStore: SettingsStore = createSettingsStore(
  attempt(() => globalThis.localStorage) ?? null,
  globalThis.navigator.languages,
);

export function useSettings(store: SettingsStore = settingsStore): Settings {
  return useSyncExternalStore(store.subscribe, store.get);
}

/** Whether the page is dark: as chosen, else as the system has it. */
export function isDark(theme: Theme, systemIsDark: boolean): boolean {
  return theme === "dark" || (theme === "system" && systemIsDark);
}
