// Write src/wire/{gateway,media_server}.ts from docs/schemas/*.json: the types of the wire, and shapes that answers are
// checked against at run time. `--check` writes nothing and fails when a file is stale.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format } from "prettier";

const root = new URL("../../", import.meta.url);
const path = (name) => fileURLToPath(new URL(name, root));
const FILES = [
  ["docs/schemas/gateway.json", "web/src/wire/gateway.ts"],
  ["docs/schemas/media-server.json", "web/src/wire/media_server.ts"],
];
const quoted = (name) => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));
const referred = (schema) => schema.$ref.split("/").at(-1);

export function typeOf(schema) {
  if (schema.$ref) return referred(schema);
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeOf))].join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `readonly (${typeOf(schema.items ?? {})})[]`;
  if (schema.type === "object") return objectType(schema);
  if (schema.type === "integer") return "number";
  if (["string", "number", "boolean", "null"].includes(schema.type)) return schema.type;
  return "unknown";
}

function objectType(schema) {
  if (!schema.properties) {
    const values = typeof schema.additionalProperties === "object" ? typeOf(schema.additionalProperties) : "unknown";
    return `Readonly<Record<string, ${values}>>`;
  }
  const fields = Object.entries(schema.properties).map(([name, field]) => {
    const optional = (schema.required ?? []).includes(name) ? "" : "?";
    const words = field.description ? `/** ${field.description} */\n` : "";
    return `${words}readonly ${quoted(name)}${optional}: ${typeOf(field)};`;
  });
  return `{ ${fields.join("\n")} }`;
}

// Shapes: "s" string, "n" number, "i" integer, "b" boolean, "0" null, "o" any object, "*" anything, "#Name" a named one,
// ["a", of] array, ["u", ...] one of, ["e", ...] these values, {field, "field?"} an object.
export function shapeOf(schema) {
  if (schema.$ref) return `#${referred(schema)}`;
  if (schema.anyOf) return ["u", ...schema.anyOf.map(shapeOf)];
  if (schema.const !== undefined) return ["e", schema.const];
  if (schema.enum) return ["e", ...schema.enum];
  if (schema.type === "array") return ["a", shapeOf(schema.items ?? {})];
  if (schema.type === "object") {
    if (!schema.properties) return "o";
    const required = schema.required ?? [];
    return Object.fromEntries(
      Object.entries(schema.properties).map(([name, field]) => [
        required.includes(name) ? name : `${name}?`,
        shapeOf(field),
      ]),
    );
  }
  return { string: "s", number: "n", integer: "i", boolean: "b", null: "0" }[schema.type] ?? "*";
}

const names = (value) =>
  typeof value === "string" ? (value.startsWith("#") ? [value.slice(1)] : []) : Object.values(value).flatMap(names);

function reachable(roots, shapes) {
  const found = new Set();
  const todo = roots.flatMap(names);
  while (todo.length) {
    const name = todo.pop();
    if (found.has(name)) continue;
    found.add(name);
    todo.push(...names(shapes[name]));
  }
  return [...found].sort();
}

export function generate(document, source) {
  const { $defs, properties } = document;
  const part = (name) => properties[name]?.properties ?? {};
  const of = (schema, name) => schema.properties[name] ?? null;
  const shapes = Object.fromEntries(Object.entries($defs).map(([name, schema]) => [name, shapeOf(schema)]));
  const events = Object.fromEntries(
    Object.entries(part("serverEvents")).map(([name, schema]) => [name, shapeOf(schema)]),
  );
  const answers = {};
  for (const [name, schema] of Object.entries(part("clientEvents"))) answers[name] = shapeOf(of(schema, "answer"));
  for (const [name, schema] of Object.entries(part("requests"))) {
    const data = of(schema, "data");
    if (data) answers[name] = shapeOf(data);
  }
  const lines = [
    `// Made by \`npm run wire\` from ${source}; not to be edited.`,
    'import type { Shape } from "./check";',
    "",
  ];
  for (const [name, schema] of Object.entries($defs)) {
    if (schema.description) lines.push(`/** ${schema.description} */`);
    lines.push(`export type ${name} = ${typeOf(schema)};`, "");
  }
  lines.push("export interface ClientEvents {");
  for (const [name, schema] of Object.entries(part("clientEvents"))) {
    lines.push(`"${name}": { payload: ${typeOf(of(schema, "payload"))}; answer: ${typeOf(of(schema, "answer"))} };`);
  }
  lines.push("}", "", "export interface ServerEvents {");
  for (const [name, schema] of Object.entries(part("serverEvents"))) lines.push(`"${name}": ${typeOf(schema)};`);
  lines.push("}", "", "export interface Requests {");
  for (const [name, schema] of Object.entries(part("requests"))) {
    const body = of(schema, "body");
    const data = of(schema, "data");
    lines.push(
      `"${name}": { body: ${body ? typeOf(body) : "undefined"}; data: ${data ? typeOf(data) : "undefined"} };`,
    );
  }
  lines.push("}", "");
  const kept = reachable([...Object.values(events), ...Object.values(answers)], shapes);
  const used = Object.fromEntries(kept.map((name) => [name, shapes[name]]));
  const literal = (name, type, value) => lines.push(`export const ${name}: ${type} = ${JSON.stringify(value)};`, "");
  literal("SHAPES", "Readonly<Record<string, Shape>>", used);
  literal("EVENTS", "Readonly<Record<keyof ServerEvents, Shape>>", events);
  literal("ANSWERS", "Readonly<Partial<Record<keyof ClientEvents | keyof Requests, Shape>>>", answers);
  return lines.join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  let stale = 0;
  for (const [source, target] of FILES) {
    const made = await format(generate(JSON.parse(readFileSync(path(source), "utf8")), source), {
      parser: "typescript",
      ...JSON.parse(readFileSync(path("web/.prettierrc.json"), "utf8")),
    });
    if (!process.argv.includes("--check")) {
      writeFileSync(path(target), made);
    } else if (made !== readFileSync(path(target), "utf8")) {
      stale += 1;
      console.error(`${target} is stale: run npm run wire`);
    }
  }
  process.exit(stale ? 1 : 0);
}
