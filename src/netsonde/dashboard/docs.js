// Shows the OpenAPI document of /v1: every call, its parameters, body and answers.
// Text is only ever set as text, never as markup, and nothing is loaded but the document.
"use strict";

const MAX_DEPTH = 6;

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function resolved(schema, api) {
  const name = schema.$ref && schema.$ref.split("/").pop();
  return name ? { title: name, ...api.components.schemas[name] } : schema;
}

function choices(schema) {
  return schema.oneOf || schema.anyOf || null;
}

function typeText(schema, api) {
  const plain = resolved(schema, api);
  if (plain.const !== undefined) return JSON.stringify(plain.const);
  if (plain.enum) return plain.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (choices(plain)) return choices(plain).map((one) => typeText(one, api)).join(" | ");
  if (plain.type === "array") return `[${typeText(plain.items || {}, api)}]`;
  if (plain.type === "object" && plain.properties) return plain.title || "object";
  const type = [].concat(plain.type || "any").join(" | ");
  return plain.additionalProperties && plain.additionalProperties.type
    ? `{name: ${typeText(plain.additionalProperties, api)}}` : type + limits(plain);
}

function limits(schema) {
  const bounds = [
    ["minimum", "≥"], ["maximum", "≤"], ["exclusiveMinimum", ">"], ["maxLength", "length ≤"],
    ["maxItems", "items ≤"], ["pattern", "like"],
  ];
  return bounds.filter(([key]) => schema[key] !== undefined)
    .map(([key, sign]) => ` ${sign} ${schema[key]}`).join(",");
}

// Structs that a schema holds: its own, its items', its alternatives'.
function structs(schema, api) {
  const plain = resolved(schema, api);
  if (plain.properties) return [plain];
  if (plain.items) return structs(plain.items, api);
  return (choices(plain) || []).flatMap((one) => structs(one, api));
}

// `asked`: of a body, where a field may be left out; an answer has all of its fields.
function fields(schema, api, depth, asked) {
  const rows = Object.entries(schema.properties).map(([name, field]) => {
    const needed = asked && (schema.required || []).includes(name);
    const fallback = resolved(field, api).default;
    const line = [
      element("span", { className: needed ? "name needed" : "name", textContent: name }), " ",
      element("span", { className: "type", textContent: typeText(field, api) }),
      fallback === undefined || fallback === null || typeof fallback === "object" ? null
        : element("span", { className: "soft", textContent: ` = ${JSON.stringify(fallback)}` }),
      field.description ? ` — ${field.description}` : null,
    ];
    const inner = depth < MAX_DEPTH ? structs(field, api) : [];
    return element("li", {}, ...(inner.length ? [folded(line, inner, api, depth + 1, asked)] : line));
  });
  return element("ul", { className: "fields" }, ...rows);
}

function folded(line, inner, api, depth, asked) {
  const box = element("details", {}, element("summary", {}, ...line.filter((part) => part !== null)));
  box.addEventListener("toggle", () => {
    if (box.open && box.children.length === 1) box.append(...described(inner, api, depth, asked));
  });
  return box;
}

function described(alternatives, api, depth, asked) {
  return alternatives.flatMap((schema) => [
    alternatives.length > 1 ? element("h3", { textContent: schema.title }) : null,
    schema.description ? element("p", { className: "soft", textContent: schema.description }) : null,
    fields(schema, api, depth, asked),
  ].filter((part) => part !== null));
}

function content(title, holder, api, asked) {
  return Object.entries(holder.content || {}).flatMap(([type, { schema }]) => [
    element("h3", { textContent: `${title} ${type}` }),
    element("p", { className: "type", textContent: typeText(schema, api) }),
    ...described(structs(schema, api), api, 0, asked),
  ]);
}

function parameters(call) {
  const given = call.parameters || [];
  if (!given.length) return [];
  const rows = given.map((one) => element("li", {},
    element("span", { className: one.required ? "name needed" : "name", textContent: one.name }),
    element("span", { className: "soft", textContent: ` in ${one.in}` }),
    one.description ? ` — ${one.description}` : null));
  return [element("h3", { textContent: "Parameters" }), element("ul", { className: "fields" }, ...rows)];
}

function answers(call, api) {
  const [good, bad] = [[], []];
  for (const [status, answer] of Object.entries(call.responses)) {
    (Number(status) < 400 ? good : bad).push([status, answer]);
  }
  return [
    ...good.flatMap(([status, answer]) => content(`Answer ${status}:`, answer, api, false)),
    element("h3", { textContent: "Refusals, as application/problem+json" }),
    element("p", { textContent: bad.map(([status, { description }]) => `${status} ${description}`).join(" · ") }),
  ];
}

function operation(path, method, call, api) {
  const body = element("div", {});
  const box = element("details", { className: "call", id: call.operationId },
    element("summary", {},
      element("span", { className: "method", textContent: method.toUpperCase() }),
      element("span", { className: "path", textContent: path }),
      element("span", { className: "summary", textContent: call.summary || "" })), body);
  box.addEventListener("toggle", () => {
    if (!box.open || body.children.length) return;
    body.append(...(call.description ? [element("p", { textContent: call.description })] : []),
      ...parameters(call), ...content("Body:", call.requestBody || {}, api, true), ...answers(call, api));
  });
  if (location.hash === `#${call.operationId}`) box.open = true;
  return box;
}

function page(api) {
  const sections = new Map();
  for (const [path, calls] of Object.entries(api.paths)) {
    for (const [method, call] of Object.entries(calls)) {
      const tag = (call.tags || ["other"])[0];
      if (!sections.has(tag)) sections.set(tag, []);
      sections.get(tag).push(operation(path, method, call, api));
    }
  }
  return [
    element("h1", { textContent: `${api.info.title} /v1` }),
    element("p", { className: "soft", textContent: api.info.description }),
    element("p", {}, "The document itself: ", element("a", { href: "openapi.json", textContent: "openapi.json" }),
      ` (OpenAPI ${api.openapi}, interface ${api.info.version}).`),
    ...[...sections].flatMap(([tag, calls]) => [element("h2", { textContent: tag }), ...calls]),
  ];
}

async function show() {
  const main = document.getElementById("page");
  try {
    const answer = await fetch("openapi.json");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    main.replaceChildren(...page(await answer.json()));
    if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  } catch (error) {
    main.replaceChildren(element("p", { textContent: `openapi.json cannot be shown: ${error.message}` }));
  }
}

show();
