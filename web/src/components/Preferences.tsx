/** Appearance, language and the talk key: what a person sets once. */

import { useId, type ReactNode } from "react";
import type { Language } from "../messages/catalogue";
import { useTranslator } from "../messages/language";
import { settingsStore, useSettings, type Theme } from "../store/settings";

/** Languages are named in themselves. */
const LANGUAGE_NAMES: Readonly<Record<Language, string>> = { en: "English", fr: "Français" };
const THEMES: readonly Theme[] = ["system", "light", "dark"];

export function Preferences(): ReactNode {
  const { t } = useTranslator();
  const settings = useSettings();
  const theme = useId();
  const language = useId();
  return (
    <div className="field-row">
      <div className="field">
        <label htmlFor={theme}>{t("theme.label")}</label>
        <select
          id={theme}
          value={settings.theme}
          onChange={(event) =>
            settingsStore.change({ theme: THEMES.find((one) => one === event.target.value) ?? "system" })
          }
        >
          {THEMES.map((one) => (
            <option key={one} value={one}>
              {t(`theme.${one}`)}
            </option>
          ))}
        </select>
      </div>
      <div className="field">
        <label htmlFor={language}>{t("language.label")}</label>
        <select
          id={language}
          value={settings.language}
          onChange={(event) => settingsStore.change({ language: event.target.value === "fr" ? "fr" : "en" })}
        >
          {Object.entries(LANGUAGE_NAMES).map(([one, name]) => (
            <option key={one} value={one} lang={one}>
              {name}
            </option>
          ))}
        </select>
      </div>
    </div>
  );
}

export function TalkKeyChoice(): ReactNode {
  const { t } = useTranslator();
  const { talkKey } = useSettings();
  return (
    <label className="checkbox">
      <input
        type="checkbox"
        checked={talkKey}
        onChange={(event) => settingsStore.change({ talkKey: event.target.checked })}
      />
      {t("device.talkKey")}
    </label>
  );
}
