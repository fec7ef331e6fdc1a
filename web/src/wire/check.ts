/**
 * Check what comes over the wire against the shapes made from the schemas. Unknown fields are ignored; missing or wrong
 * ones are reported with their path.
 */

/** See scripts/wire.mjs for the notation. */
export type Shape = string | readonly unknown[] | { readonly [field: string]: Shape };
export type Shapes = Readonly<Record<string, Shape>>;

/** What came over the wire is not what the schema says. */
export class WireError extends Error {
  override readonly name = "WireError";
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function scalar(code: string, value: unknown): boolean {
  switch (code) {
    case "s":
      return typeof value === "string";
    case "n":
      return typeof value === "number" && Number.isFinite(value);
    case "i":
      return Number.isInteger(value);
    case "b":
      return typeof value === "boolean";
    case "0":
      return value === null;
    case "o":
      return isObject(value);
    default:
      return code === "*";
  }
}

const NAMES: Readonly<Record<string, string>> = {
  s: "text",
  n: "a number",
  i: "an integer",
  b: "true or false",
  "0": "null",
  o: "an object",
};

/** Return what is wrong with `value`, with the path of the field, or null. */
export function problem(shapes: Shapes, shape: Shape, value: unknown, path: string): string | null {
  if (typeof shape === "string") {
    if (shape.startsWith("#")) return problem(shapes, shapes[shape.slice(1)] ?? "*", value, path);
    return scalar(shape, value) ? null : `${path}: must be ${NAMES[shape] ?? shape}`;
  }
  if (isShapeList(shape)) return listProblem(shapes, shape, value, path);
  if (!isObject(value)) return `${path}: must be an object`;
  for (const [key, field] of Object.entries(shape)) {
    const optional = key.endsWith("?");
    const name = optional ? key.slice(0, -1) : key;
    const found = value[name];
    if (found === undefined) {
      if (!optional) return `${path}.${name}: is missing`;
      continue;
    }
    const wrong = problem(shapes, field, found, `${path}.${name}`);
    if (wrong !== null) return wrong;
  }
  return null;
}

const isShapeList = (shape: Shape): shape is readonly unknown[] => Array.isArray(shape);

function listProblem(shapes: Shapes, shape: readonly unknown[], value: unknown, path: string): string | null {
  const [kind, ...rest] = shape;
  if (kind === "e") return rest.includes(value) ? null : `${path}: must be one of ${rest.join(", ")}`;
  if (kind === "a") {
    if (!Array.isArray(value)) return `${path}: must be an array`;
    for (const [index, item] of value.entries()) {
      const wrong = problem(shapes, rest[0] as Shape, item, `${path}[${index}]`);
      if (wrong !== null) return wrong;
    }
    return null;
  }
  const problems: string[] = [];
  for (const choice of rest as Shape[]) {
    const wrong = problem(shapes, choice, value, path);
    if (wrong === null) return null;
    problems.push(wrong);
  }
  // The deepest problem belongs to the choice that was meant.
  return problems.sort((one, other) => other.length - one.length)[0] ?? `${path}: is wrong`;
}

/** Return `value` as what the shape describes, or throw a `WireError` that names the field. */
export function checked<T>(shapes: Shapes, shape: Shape | undefined, value: unknown, what: string): T {
  const wrong = shape === undefined ? null : problem(shapes, shape, value, what);
  if (wrong !== null) throw new WireError(wrong);
  return value as T;
}
