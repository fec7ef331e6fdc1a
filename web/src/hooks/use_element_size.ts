/** The size of an element in CSS pixels, renewed when it changes. */

import { useLayoutEffect, useState, type RefObject } from "react";
import type { Space } from "../components/grid_layout";

export function useElementSize(element: RefObject<HTMLElement | null>): Space {
  const [size, setSize] = useState<Space>({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const target = element.current;
    if (target === null) return;
    const measure = (): void => {
      const { clientWidth: width, clientHeight: height } = target;
      setSize((before) => (before.width === width && before.height === height ? before : { width, height }));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(target);
    return () => observer.disconnect();
  }, [element]);
  return size;
}
