/** A page that says one thing, with what a person can do. */

import { useEffect, useRef, type ReactNode } from "react";

interface Props {
  readonly name: string;
  readonly title: string;
  readonly hint?: string;
  readonly children?: ReactNode;
}

/** The title takes the focus, so that a screen reader says what has happened. */
export function MessagePage({ name, title, hint, children }: Props): ReactNode {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <main className="message" data-page={name}>
      <div className="message-card">
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {hint !== undefined && <p className="message-hint">{hint}</p>}
        {children}
      </div>
    </main>
  );
}
