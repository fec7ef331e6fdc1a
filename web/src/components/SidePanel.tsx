/** A panel beside the call. Escape closes it, and the focus goes back to where it was. */

import { useEffect, useId, useRef, type ReactNode } from "react";
import { useTranslator } from "../messages/language";
import { Icon } from "./Icon";

interface Props {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ReactNode;
}

export function SidePanel({ title, onClose, children }: Props): ReactNode {
  const { t } = useTranslator();
  const heading = useId();
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    panel.current?.focus();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <aside
      className="panel"
      ref={panel}
      tabIndex={-1}
      aria-labelledby={heading}
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
    >
      <header className="panel-header">
        <h2 id={heading}>{title}</h2>
        <button type="button" className="panel-close" aria-label={t("control.close")} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {children}
    </aside>
  );
}
