/** Lists of microphones and cameras, with what is wrong and what helps. */

import { useId, type ReactNode } from "react";
import type { MediaProblem } from "../call/model";
import type { DeviceChoice } from "../media/devices";
import { useTranslator } from "../messages/language";
import { Icon } from "./Icon";

interface Props {
  readonly kind: "audio" | "video";
  readonly choices: readonly DeviceChoice[];
  readonly selected: string | null;
  readonly disabled?: boolean;
  readonly onChoose: (id: string) => void;
}

export function DeviceSelect({ kind, choices, selected, disabled = false, onChoose }: Props): ReactNode {
  const { t } = useTranslator();
  const id = useId();
  const audio = kind === "audio";
  const value = choices.some((one) => one.id === selected) ? (selected ?? "") : (choices[0]?.id ?? "");
  return (
    <div className="field">
      <label htmlFor={id}>{t(audio ? "device.microphone" : "device.camera")}</label>
      <select
        id={id}
        value={value}
        disabled={disabled || choices.length === 0}
        onChange={(event) => onChoose(event.target.value)}
      >
        {choices.length === 0 && <option value="">{t(audio ? "device.noMicrophone" : "device.noCamera")}</option>}
        {choices.map((one, index) => (
          <option key={one.id} value={one.id}>
            {one.label || t(audio ? "device.unnamedMicrophone" : "device.unnamedCamera", { number: index + 1 })}
          </option>
        ))}
      </select>
    </div>
  );
}

interface ProblemProps {
  readonly problem: MediaProblem;
  readonly onRetry: (() => void) | null;
}

export function DeviceProblem({ problem, onRetry }: ProblemProps): ReactNode {
  const { t } = useTranslator();
  const device = t(problem.kind === "audio" ? "device.microphone" : "device.camera").toLocaleLowerCase();
  return (
    <div className="notice notice-warning" role="alert" data-problem={problem.code}>
      <Icon name="warning" />
      <p>
        <strong>{t(`problem.${problem.code}`, { device })}</strong> {t(`problem.${problem.code}.remedy`, { device })}
      </p>
      {onRetry !== null && (
        <button type="button" className="button button-small" onClick={onRetry}>
          {t("problem.retry")}
        </button>
      )}
    </div>
  );
}
