/** Checks and the paths that were tried, in plain words, to be read by a person or copied for who runs the server. */

import type { ReactNode } from "react";
import type { CandidateReport, Check, Diagnosis } from "../call/model";
import { useCopy } from "../hooks/use_copy";
import type { MessageKey } from "../messages/catalogue";
import { en } from "../messages/en";
import { useTranslator } from "../messages/language";
import { Icon, type IconName } from "./Icon";
import { milliseconds } from "./stats_format";

const ICONS: Readonly<Record<Check["state"], IconName>> = { passed: "check", failed: "warning", skipped: "skipped" };

export function CheckList({ checks }: { readonly checks: readonly Check[] }): ReactNode {
  const { t } = useTranslator();
  return (
    <ul className="checks">
      {checks.map((check) => (
        <li key={check.id} className={`check check-${check.state}`} data-check={check.id} data-state={check.state}>
          <span className="check-icon" role="img" aria-label={t(`diagnosis.${check.state}`)}>
            <Icon name={ICONS[check.state]} />
          </span>
          <div>
            <p className="check-title">{titleOf(check.id, t)}</p>
            <p className="muted">{check.detail}</p>
            {check.remedy !== null && check.state === "failed" && <p className="check-remedy">{check.remedy}</p>}
          </div>
        </li>
      ))}
    </ul>
  );
}

/** Checks of single workers have ids such as `udp-0`: the part before the number has a name, the number tells them apart. */
export function titleOf(id: string, t: ReturnType<typeof useTranslator>["t"]): string {
  const [, base = id, worker] = /^(.*?)-(\d+)$/.exec(id) ?? [];
  const key = `diagnosis.check.${base}`;
  if (!isTitleKey(key)) return id;
  return worker === undefined ? t(key) : `${t(key)} (${worker})`;
}

type TitleKey = Extract<MessageKey, `diagnosis.check.${string}`>;

function isTitleKey(key: string): key is TitleKey {
  return key.startsWith("diagnosis.check.") && key in en;
}

export function DiagnosisView({ diagnosis }: { readonly diagnosis: Diagnosis }): ReactNode {
  const { t } = useTranslator();
  const { copy, copied, refused } = useCopy();
  return (
    <section className="diagnosis" aria-label={t("diagnosis.title")}>
      <h2>{t("diagnosis.title")}</h2>
      <CheckList checks={diagnosis.checks} />
      <h3>{t("diagnosis.pairs")}</h3>
      {diagnosis.pairs.length === 0 ? (
        <p className="muted">{t("diagnosis.noPairs")}</p>
      ) : (
        <Pairs diagnosis={diagnosis} />
      )}
      <button type="button" className="button button-small" onClick={() => copy(JSON.stringify(diagnosis, null, 2))}>
        <Icon name={copied ? "check" : "copy"} />
        {t(copied ? "diagnosis.copied" : "diagnosis.copy")}
      </button>
      {refused !== null && (
        <textarea className="copy-by-hand" readOnly value={refused} aria-label={t("diagnosis.copy")} />
      )}
    </section>
  );
}

function Pairs({ diagnosis }: { readonly diagnosis: Diagnosis }): ReactNode {
  const translator = useTranslator();
  const { t } = translator;
  return (
    <div className="table-scroll" role="region" aria-label={t("diagnosis.pairs")} tabIndex={0}>
      <table className="pairs">
        <thead>
          <tr>
            <th scope="col">{t("diagnosis.local")}</th>
            <th scope="col">{t("diagnosis.remote")}</th>
            <th scope="col">{t("diagnosis.state")}</th>
            <th scope="col">{t("diagnosis.rtt")}</th>
          </tr>
        </thead>
        <tbody>
          {diagnosis.pairs.map((pair, index) => (
            <tr key={index} className={pair.nominated ? "pair-nominated" : ""}>
              <td>{candidate(pair.local)}</td>
              <td>{candidate(pair.remote)}</td>
              <td>{pair.state}</td>
              <td>{milliseconds(pair.rttMs, translator)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function candidate({ address, port, protocol, type }: CandidateReport): string {
  const where = address === null ? "?" : address.includes(":") ? `[${address}]` : address;
  return `${where}${port === null ? "" : `:${port}`} ${protocol} ${type}`;
}
