// Everything shown is set as text: what a model or a user writes is never markup.
const at = (id) => document.getElementById(id);
let kind = "";

async function told(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `the server answered ${response.status}`);
  return body;
}

function cell(row, name, content) {
  const td = document.createElement("td");
  td.className = name;
  td.append(content);
  row.append(td);
}

// What an answer is, in words.
function best(answer) {
  if (answer.spans) return answer.spans.length ? `${answer.spans.length} found` : "Nothing found";
  if (answer.labels) return answer.labels.join(", ") || "None of the labels";
  if (answer.score !== undefined) return String(answer.score);
  return answer.label ?? (answer.answer || "No answer");
}

// The text with its spans marked. Places count Unicode characters, which are not JavaScript's.
function marked(text, spans, colours) {
  const characters = Array.from(text), parts = [];
  let done = 0;
  for (const span of spans) {
    if (span.start < done) continue;
    parts.push(characters.slice(done, span.start).join(""));
    const mark = document.createElement("mark");
    mark.className = `c${colours.get(span.label) % 6}`;
    mark.append(characters.slice(span.start, span.end).join(""));
    if (span.label) {
      const name = document.createElement("small");
      name.append(span.label);
      mark.append(name);
    }
    parts.push(mark);
    done = span.end;
  }
  parts.push(characters.slice(done).join(""));
  return parts;
}

// Where a read answer stands, as a span without a label: its first place in the text.
function placed(answer, text) {
  const at = answer ? text.indexOf(answer) : -1;
  if (at < 0) return [];
  const start = Array.from(text.slice(0, at)).length;
  return [{ start, end: start + Array.from(answer).length, label: "" }];
}

function show(answer, text) {
  at("best").textContent = best(answer);
  const spans = answer.spans ?? (kind === "read" ? placed(answer.answer, text) : []);
  const labels = [...new Set(spans.map((span) => span.label))];
  at("marked").replaceChildren(...(spans.length ? marked(text, spans, new Map(labels.map((l, i) => [l, i]))) : []));
  at("note").textContent = answer.truncated ? "The text is longer than the model reads: its end was cut." : "";
  const rows = Object.entries(answer.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  at("rows").replaceChildren(...rows.map(([label, share]) => {
    const row = document.createElement("tr"), bar = document.createElement("progress");
    bar.max = 1;
    bar.value = share;
    bar.setAttribute("aria-label", label);
    cell(row, "name", label);
    cell(row, "bar", bar);
    cell(row, "share", `${(100 * share).toFixed(1)}%`);
    return row;
  }));
  at("answer").hidden = false;
}

at("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("send").disabled = true;
  at("problem").textContent = "";
  at("answer").hidden = true;
  const text = at("text").value, question = at("question").value;
  try {
    show(await told(await fetch("predict", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(kind === "read" ? { question, context: text } : { text }),
    })), text);
  } catch (error) {
    at("problem").textContent = error.message;
  } finally {
    at("send").disabled = false;
  }
});

fetch("health").then(told).then((health) => {
  kind = health.kind;
  at("asking").hidden = kind !== "read";
  at("named").textContent = kind === "read" ? "Context" : "Text";
  document.title = health.name;
  at("name").textContent = health.name;
  at("instruction").textContent = health.instruction;
  at("model").textContent = `${health.model}, ${health.format}`;
}).catch((error) => { at("problem").textContent = error.message; });
