const body = content => Object.values(content || {})[0]?.schema;
fetch("openapi.json").then(answer => answer.json()).then(api => {
  schemas = api.components.schemas;
  document.getElementById("title").textContent = api.info.title;
  document.title = `${api.info.title}: API`;
  document.getElementById("about").replaceChildren(
    make("span", `${api.info.description} Version ${api.info.version}. `), make("a", "openapi.json"),
    make("span", ", "), make("a", "events"));
  const [file, events] = document.querySelectorAll("#about a");
  file.href = "openapi.json"; events.href = "docs/events";
  const list = document.getElementById("list"), groups = new Map();
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      const errors = Object.entries(operation.responses).filter(([status]) => status >= "400")
        .map(([status, response]) => `${status}  ${response.description}`).join("\n");
      groups.get(tag).push(entry(method.toUpperCase(), path, operation.summary, [
        ["Body", operation.requestBody && show(body(operation.requestBody.content))],
        ["Answer", show(body(Object.entries(operation.responses).find(([status]) => status < "300")[1].content))],
        ["Errors", errors],
        ["Rate limit", operation["x-rate-limit"]],
      ]));
    }
  for (const [title, entries] of groups) list.append(make("h2", title), ...entries);
  for (const [title, key] of [["Socket.IO: client to server", "clientEvents"], ["Socket.IO: server to client", "serverEvents"]])
    list.append(make("h2", title), ...Object.entries(api["x-socketio"][key]).map(([event, about]) =>
      entry("EVENT", event, about.summary, [["Payload", show(about.payload)]])));
}).catch(error => { document.getElementById("about").textContent = `Cannot load openapi.json: ${error}`; });
