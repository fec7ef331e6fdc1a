fetch("../asyncapi.json").then(answer => answer.json()).then(api => {
  schemas = api.components.schemas;
  const message = reference => api.components.messages[name(reference.$ref)];
  document.getElementById("title").textContent = document.title = api.info.title;
  document.getElementById("about").replaceChildren(
    make("span", `${api.info.description} Version ${api.info.version}. `), make("a", "asyncapi.json"),
    make("span", ", "), make("a", "REST"));
  const [file, rest] = document.querySelectorAll("#about a");
  file.href = "../asyncapi.json"; rest.href = "../docs";
  const list = document.getElementById("list");
  for (const [title, action, label] of [["Client to server", "receive", "ON"], ["Server to client", "send", "EMIT"]]) {
    list.append(make("h2", title));
    for (const operation of Object.values(api.operations).filter(one => one.action === action)) {
      const sent = message(operation.messages[0]), reply = operation.reply && message(operation.reply.messages[0]);
      list.append(entry(label, sent.name, sent.summary, [
        ["To", operation.description],
        ["Payload", show(sent.payload)],
        ["Acknowledgement", reply && reply.payload.oneOf.map(one => show(one)).join("\n")],
        ["Rate limit", operation["x-rate-limit"]],
      ]));
    }
  }
}).catch(error => { document.getElementById("about").textContent = `Cannot load asyncapi.json: ${error}`; });
